"""Which row of a group stays: of two rows the one with the smaller ``rank``.

For ``first`` that is the input order itself; any other rule costs one sort of the small table.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.read.columns import row_terms
from imgdedup_spark.read.source import INPUT, ORDER
from imgdedup_spark.spark.workspace import Stage

RANK = "rank"


def ranked(rows: DataFrame, config: DedupConfig, stage: Stage) -> DataFrame:
    """Adds ``rank``.

    Args:
        rows: has ``order``, ``key`` and the columns that the rule sorts by (``hash.prints`` names them).
        stage: freezes the sorted rows: numbers from a sort must not be made twice.
    """
    terms = _terms(config)
    slim = rows.select(*where_columns(rows), "key", "images", *terms)
    if not terms:
        return slim.withColumn(RANK, F.col(ORDER))
    ordered = slim.orderBy(*terms.values(), ORDER).drop(*terms)
    return stage("ranked", ordered.withColumn(RANK, F.monotonically_increasing_id()))


def by_input_order(config: DedupConfig) -> bool:
    """Whether ranks are the input order itself."""
    return not config.keep_terms


def sort_terms(config: DedupConfig) -> dict[str, bool]:
    """The columns of prints that ``--keep`` sorts by before input order, and whether downwards. A row without a value
    is never preferred for it."""
    names = list(row_terms(config))
    found: dict[str, bool] = {}
    for term in config.keep_terms:
        name = f"term{names.index(term.column)}" if term.column in names else term.column
        found.setdefault(name, term.descending)
    return found


def _terms(config: DedupConfig) -> dict[str, Column]:
    terms = sort_terms(config).items()
    return {name: F.col(name).desc_nulls_last() if down else F.col(name).asc_nulls_last() for name, down in terms}


def where_columns(rows: DataFrame) -> list[str]:
    """The columns that say where a row stands, as far as they are there."""
    return [name for name in (ORDER, INPUT) if name in rows.columns]
