"""What matching found, and every row that goes for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.keys import short
from imgdedup_spark.read.order import where_columns
from imgdedup_spark.spark.joins import join_few


@dataclass(frozen=True)
class Decided:
    """What matching found.

    Attributes:
        frame: see the module's text for its columns.
        count: its rows.
        plan: how near-duplicates were searched.
        highest: for embeddings, if asked for: ``first`` of each distinct key that was compared, and
            ``max_similarity``, its highest cosine with any other row (null without one).
    """

    frame: DataFrame
    count: int
    plan: dict[str, Any] = field(default_factory=dict)
    highest: DataFrame | None = None


def dropped_ranks(rows: DataFrame, decided: Decided, config: DedupConfig) -> DataFrame:
    """Every row that goes: ``order``, ``keeper`` (a rank), ``is_reference``, ``distance``, ``similarity`` (null for
    hashes), ``reason``; and what else there is of ``places.where_columns``.

    Args:
        rows: ``key``, ``rank``, ``order``, and maybe more of ``places.where_columns``.
    """
    place = where_columns(rows)
    slim = rows.select(short(F.col("key")).alias("key"), "rank", *place)
    joined = join_few(slim, decided.frame, "key", decided.count)
    same = (F.col("keeper") == F.col("first")) & ~F.col("is_reference")
    distance = F.when(same, 0).otherwise(F.col("distance"))
    similarity, reason = F.lit(None), F.when(same, "same_hash").otherwise("near_hash")
    if config.is_embedding:
        # Equal embeddings are just the nearest ones: nobody has compared hashes, but those of the texts.
        distance, similarity = F.coalesce("distance", F.lit(0)), 1 - F.col("distance")
        reason = F.when(similarity.isNull(), "same_hash").otherwise("near_embedding")
    return joined.where("is_reference or rank != keeper").select(
        *place,
        "keeper",
        "is_reference",
        distance.cast("double").alias("distance"),
        similarity.cast("double").alias("similarity"),
        reason.alias("reason"),
    )
