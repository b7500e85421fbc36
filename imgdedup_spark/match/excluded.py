"""Equal keys among which some rows are never matched with each other."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.apart import NUMBER, shared_key
from imgdedup_spark.kernels.barred import Barred, first_come_of_equals
from imgdedup_spark.match.decided import short
from imgdedup_spark.match.equal import alone, decide_equal

_DECIDED = "key binary, first bigint, size bigint, keeper bigint, distance int, is_reference boolean"


def equal_but(groups: DataFrame, references: DataFrame | None, barred: Barred) -> DataFrame:
    """What equal keys decide, as ``decide_equal`` and ``alone``, and ``is_same``.

    The keys that rows with numbers share, with all that have them, are walked through in the driver: they are few.

    Args:
        groups: ``key``, ``number``, ``first``, ``size``.
        references: ``key``, ``number``, ``rank``.
    """
    groups = groups.withColumn("shared", short(shared_key())).withColumn("key", short(F.col("key")))
    keys = F.broadcast(groups.where(f"{NUMBER} > 0").select("shared").distinct())
    rest = groups.join(keys, "shared", "left_anti").select("key", "first", "size")
    few = groups.join(keys, "shared").select("shared", NUMBER, "first", "key", "size").collect()
    if references is None:
        known, decided = [], alone(rest)
    else:
        references = references.withColumn("shared", short(shared_key()))
        least = references.join(keys, "shared").groupBy("shared", NUMBER).agg(F.min("rank").alias("rank"))
        known = sorted(least.collect(), key=lambda row: row["rank"])
        decided = decide_equal(rest, references.select(F.col("shared").alias("key"), "rank"))
    few.sort(key=lambda row: row["first"])
    rows = [*known, *few]
    keys_of = {key: place for place, key in enumerate({bytes(row["shared"]) for row in rows})}
    keeper = first_come_of_equals(
        np.array([keys_of[bytes(row["shared"])] for row in rows], np.int64),
        np.array([row[NUMBER] for row in rows], np.int64),
        len(known),
        barred,
    )
    found = []
    for row, place in zip(few, keeper[len(known) :].tolist(), strict=True):
        is_reference = place < len(known)
        stands = rows[place]["rank"] if is_reference else rows[place]["first"]
        if is_reference or stands != row["first"] or row["size"] > 1:
            found.append((row["key"], row["first"], row["size"], stands, 0, is_reference))
    walked = groups.sparkSession.createDataFrame(found, _DECIDED)
    return decided.unionByName(walked).withColumn("is_same", ~F.col("is_reference"))


def with_sameness(decided: DataFrame, groups: DataFrame) -> DataFrame:
    """Adds ``is_same``: whether the keeper is one of the run's rows with the very same key.

    Args:
        decided: ``key``, ``number``, ``first``, ``keeper``, ``is_reference``.
        groups: ``key``, ``number``, ``first``; what was decided about.
    """
    shared = groups.withColumn("shared", shared_key())
    keys = F.broadcast(shared.where(f"{NUMBER} > 0").select("shared").distinct())
    twins = shared.join(keys, "shared").select("shared", F.col("first").alias("keeper"), F.lit(True).alias("is_twin"))
    joined = decided.withColumn("shared", shared_key()).join(F.broadcast(twins), ["shared", "keeper"], "left")
    same = (F.col("keeper") == F.col("first")) | F.coalesce("is_twin", F.lit(False))
    return joined.withColumn("is_same", same & ~F.col("is_reference")).drop("shared", "is_twin")
