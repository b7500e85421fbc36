"""Matching: which rows have a twin, and which of the twins comes first.

Rows of equal keys are collapsed by an aggregation that combines on the map side, so that a blank image repeated
ten million times is no hot key; near-duplicates are then searched among the distinct keys only. What comes out,
``decided``, has one row for each distinct key that has something to drop:

- ``key``; ``first``, the rank of its earliest row; ``size``, how many rows have it
- ``keeper``, the rank of the row that stands for it (its own ``first``, or a near row's); ``distance`` in bits, or
  1 − cosine (null where there are no embeddings to compare: rows without images)
- ``is_reference``, whether ``keeper`` is the rank of a reference: a row that was there before this run
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.keys import short
from imgdedup_spark.match.decided import Decided
from imgdedup_spark.match.equal import alone, decide_equal
from imgdedup_spark.spark.workspace import Stage

if TYPE_CHECKING:
    from imgdedup_spark.index.references import References


def decide(rows: DataFrame, config: DedupConfig, stage: Stage, references: References | None = None) -> Decided:
    """Args:
    rows: ``key``, ``rank`` (bigint, unique, smaller stays) and ``images``.
    references: rows that come before all of these.
    """
    if config.threshold or config.is_embedding:
        from imgdedup_spark.match.near import decide_near

        return decide_near(rows, config, stage, references)
    groups = rows.groupBy(short(F.col("key")).alias("key")).agg(
        F.min("rank").alias("first"), F.count(F.lit(1)).alias("size")
    )
    if references is None:
        decided = stage("decided", alone(groups))
    else:
        decided = stage("decided", decide_equal(stage("groups", groups), references.keyed(config)))
    return Decided(decided, decided.count())
