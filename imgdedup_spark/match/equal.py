"""What equal keys decide."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.match.decided import short
from imgdedup_spark.spark.joins import BROADCAST_KEYS


def alone(groups: DataFrame) -> DataFrame:
    """What equal keys decide when there is nothing else to compare with.

    Args:
        groups: ``key``, ``first``, ``size``.
    """
    return groups.where("size > 1").select(
        "key",
        "first",
        "size",
        F.col("first").alias("keeper"),
        F.lit(0).alias("distance"),
        F.lit(False).alias("is_reference"),
    )


def decide_equal(groups: DataFrame, references: DataFrame) -> DataFrame:
    """What equal keys decide: the earliest reference of the same key, else the group's own first row.

    Args:
        groups: ``key`` (short), ``first``, ``size``; read twice.
        references: ``key``, ``rank``.
    """
    known = references.select(short(F.col("key")).alias("key"), "rank")
    keys = groups.select("key")
    # A broadcast so that of many references only those that this run asks for are shuffled.
    known = known.join(F.broadcast(keys) if keys.count() <= BROADCAST_KEYS else keys, "key", "left_semi")
    joined = groups.join(known.groupBy("key").agg(F.min("rank").alias("reference")), "key", "left")
    return joined.where("size > 1 or reference is not null").select(
        "key",
        "first",
        "size",
        F.coalesce("reference", "first").alias("keeper"),
        F.lit(0).alias("distance"),
        F.col("reference").isNotNull().alias("is_reference"),
    )
