"""Every row that goes, and for whom."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.index.references import References
from imgdedup_spark.keep.rank import RANK, by_input_order, where_columns
from imgdedup_spark.match.decided import Decided, short
from imgdedup_spark.read.source import ORDER
from imgdedup_spark.spark.joins import join_few, keepers


def dropped_rows(rows: DataFrame, decided: Decided, prints: Prints, references: References | None = None) -> DataFrame:
    """One row for each duplicate: ``order`` and maybe ``input``; ``kept_order``, the keeper's, or ``reference``, its
    rank, if it is one of those (the other is null); ``distance``, ``similarity`` (null for hashes), ``reason``.

    Args:
        rows: ``key``, ``rank``, ``order`` and maybe ``input``.
    """
    place = where_columns(rows)
    slim = rows.select(short(F.col("key")).alias("key"), RANK, *place)
    joined = join_few(slim, decided.frame, "key", decided.count).where("is_reference or rank != keeper")
    is_same = (F.col("keeper") == F.col("first")) & ~F.col("is_reference")
    outcome = prints.outcome(F.col("is_same") if "is_same" in decided.frame.columns else is_same)
    dropped = joined.select(
        *place,
        "keeper",
        "is_reference",
        outcome["distance"].cast("double").alias("distance"),
        outcome["similarity"].cast("double").alias("similarity"),
        outcome["reason"].alias("reason"),
    )
    named = _with_orders(dropped, rows, decided.count, ranks_are_orders=by_input_order(prints.config))
    return named if references is None else named.withColumn("reason", references.reason())


def _with_orders(dropped: DataFrame, rows: DataFrame, count: int, *, ranks_are_orders: bool) -> DataFrame:
    """``keeper``, a rank → ``kept_order`` or ``reference``.

    Args:
        count: keepers at most.
    """
    reference = F.when(F.col("is_reference"), F.col("keeper")).alias("reference")
    if ranks_are_orders:
        kept_order = F.when(~F.col("is_reference"), F.col("keeper")).alias("kept_order")
        return dropped.select("*", reference, kept_order).drop("keeper", "is_reference")
    here, there = dropped.where("not is_reference"), dropped.where("is_reference")
    ranks = rows.select(F.col(RANK).alias("keeper"), F.col(ORDER).alias("kept_order"))
    few = keepers(here, "keeper").join(ranks, "keeper")
    found = join_few(here, few, "keeper", count).drop("size").withColumn("reference", F.lit(None).cast("bigint"))
    beyond = there.select("*", reference, F.lit(None).cast("bigint").alias("kept_order"))
    return found.unionByName(beyond).drop("keeper", "is_reference")
