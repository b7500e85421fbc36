"""Near-duplicates among a run's rows: distinct keys go to the search (``near``), its decisions come back as keys."""

from __future__ import annotations

from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config import DedupConfig
from imgdedup_spark.matching import Decided, Stage, hash_widths, short
from imgdedup_spark.near import Part, first_come


def decide_near(rows: DataFrame, config: DedupConfig, stage: Stage) -> Decided:
    """Args:
    rows: ``key``, ``rank``, ``images``. Only rows of equally many images can match.
    """
    groups = rows.groupBy("key", "images").agg(F.min("rank").alias("first"), F.count(F.lit(1)).alias("size"))
    groups = stage("groups", groups)
    counts = sorted(row["images"] for row in groups.select("images").distinct().collect())
    decided, plans = [], {}
    for images in counts:
        here = groups.where(F.col("images") == images)
        # Without an image there is nothing to be near to: equal texts alone match.
        if images == 0:
            alone = here.select("key", "first", "size", F.col("first").alias("keeper"), F.lit(0).alias("distance"))
            decided.append(alone.where("size > 1"))
            continue
        parts = parts_of(config, images)
        code, context = split_key(parts)
        items = here.select(F.col("first").alias("rank"), code.alias("code"), context.alias("context"))
        decisions, plans[images] = first_come(items, parts, stage=stage)
        found = decisions.select(F.col("rank").alias("first"), "keeper", "distance")
        joined = here.join(found, "first").where("size > 1 or keeper != first")
        decided.append(joined.select("key", "first", "size", "keeper", "distance"))
    if not decided:
        decided = [groups.select("key", "first", "size", F.col("first").alias("keeper"), F.lit(0).alias("distance"))]
    union = reduce(DataFrame.unionByName, decided)
    frame = stage("decided", union.withColumn("key", short(F.col("key"))))
    return Decided(frame, frame.count(), _plan(plans))


def parts_of(config: DedupConfig, images: int) -> list[Part]:
    """What a key's code is made of: the images' main hashes, then their hashes for each ``--verify``."""
    bits = hash_widths(config)
    thresholds = [config.threshold, *(verify.threshold for verify in config.verifies)]
    return [
        Part(width, threshold, reported=index == 0)
        for index, (width, threshold) in enumerate(zip(bits, thresholds, strict=True))
        for _ in range(images)
    ]


def split_key(parts: list[Part]) -> tuple[Column, Column]:
    """A key's code, and what must be equal besides (the text, or nothing)."""
    length = sum((part.bits + 7) // 8 for part in parts)
    key = F.col("key")
    rest = F.substring(key, length + 1, 1 << 20)
    return F.substring(key, 1, length), rest


def _plan(plans: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """For the log and summary.json: the search's own words; one for each number of images where there are several."""
    if len(plans) == 1:
        return next(iter(plans.values()))
    return {f"{images} images": plan for images, plan in plans.items()}
