"""Keeping: which row of a group stays.

Every later stage knows one number only, a row's ``rank``: of two rows the one with the smaller rank stays.
For ``first`` that is the input order itself; any other rule costs one sort of the small table.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.read.columns import row_terms
from imgdedup_spark.read.order import where_columns
from imgdedup_spark.spark.joins import join_few, keepers

RANK = "rank"


def ranked(rows: DataFrame, config: DedupConfig, stage: Callable[[str, DataFrame], DataFrame]) -> DataFrame:
    """Adds ``rank``.

    Args:
        rows: has ``order``, and the columns the rule sorts by (``fingerprints`` names them).
        stage: freezes the sorted rows: numbers from a sort must not be made twice.
    """
    terms = keep_order(config)
    slim = rows.select(*where_columns(rows), "key", "images", *_term_columns(config))
    if not terms:
        return slim.withColumn(RANK, F.col("order"))
    ordered = slim.orderBy(*terms, "order").drop(*_term_columns(config))
    return stage("ranked", ordered.withColumn(RANK, F.monotonically_increasing_id()))


def keep_order(config: DedupConfig) -> list[Column]:
    """The sort terms of ``--keep`` before input order. A row without a value is never preferred for it."""
    names = list(row_terms(config))
    columns = []
    for term in config.keep_terms:
        column = F.col(f"term{names.index(term.column)}" if term.column in names else term.column)
        columns.append(column.desc_nulls_last() if term.descending else column.asc_nulls_last())
    return columns


def _term_columns(config: DedupConfig) -> list[str]:
    names = list(row_terms(config))
    measured = [term.column for term in config.keep_terms if term.column not in names]
    return [*(f"term{i}" for i in range(len(names))), *dict.fromkeys(measured)]


def orders_of_keepers(dropped: DataFrame, rows: DataFrame, config: DedupConfig, count: int) -> DataFrame:
    """``keeper``, a rank → ``kept_order``, the keeper's place in the input, or ``reference``, if it is one of
    those.

    Args:
        count: keepers at most.
    """
    reference = F.when(F.col("is_reference"), F.col("keeper")).alias("reference")
    if not keep_order(config):
        kept_order = F.when(~F.col("is_reference"), F.col("keeper")).alias("kept_order")
        return dropped.select("*", reference, kept_order).drop("keeper", "is_reference")
    here, there = dropped.where("not is_reference"), dropped.where("is_reference")
    ranks = rows.select(F.col(RANK).alias("keeper"), F.col("order").alias("kept_order"))
    few = keepers(here, "keeper").join(ranks, "keeper")
    found = join_few(here, few, "keeper", count).drop("size").withColumn("reference", F.lit(None).cast("bigint"))
    beyond = there.select("*", reference, F.lit(None).cast("bigint").alias("kept_order"))
    return found.unionByName(beyond).drop("keeper", "is_reference")
