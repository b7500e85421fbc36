"""Near-duplicates among a run's rows: distinct keys go to the search (``near``), its decisions come back as keys."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config import DedupConfig
from imgdedup_spark.matching import Decided, Stage, alone, decide_equal, hash_widths, short
from imgdedup_spark.near import Part, first_come

if TYPE_CHECKING:
    from imgdedup_spark.references import References


def decide_near(rows: DataFrame, config: DedupConfig, stage: Stage, references: References | None = None) -> Decided:
    """Args:
    rows: ``key``, ``rank``, ``images``. Only rows of equally many images can match.
    references: rows that come before all of these.
    """
    groups = rows.groupBy("key", "images").agg(F.min("rank").alias("first"), F.count(F.lit(1)).alias("size"))
    groups = stage("groups", groups)
    known = None if references is None else references.keyed(config)
    counts = sorted(row["images"] for row in groups.select("images").distinct().collect())
    decided, plans = [], {}
    for images in counts:
        here = groups.where(F.col("images") == images)
        known_here = None if known is None else known.where(F.col("images") == images)
        # Without an image there is nothing to be near to: equal texts alone match.
        if images == 0:
            equal = here.select(short(F.col("key")).alias("key"), "first", "size")
            decided.append(alone(equal) if known_here is None else decide_equal(equal, known_here))
            continue
        parts = parts_of(config, images)
        items = _items(here.withColumnRenamed("first", "rank"), parts, config)
        earlier = None if known_here is None else _items(known_here, parts, config)
        packed = None
        if references is not None and references.packed is not None:
            packed = references.packed.where(F.col("images") == images)
        decisions, plans[images] = first_come(items, parts, stage=stage, references=earlier, packed=packed)
        found = decisions.withColumnRenamed("rank", "first")
        joined = here.join(found, "first").where("size > 1 or is_reference or keeper != first")
        decided.append(
            joined.select(short(F.col("key")).alias("key"), "first", "size", "keeper", "distance", "is_reference")
        )
    if not decided:
        decided = [alone(groups)]
    frame = stage("decided", reduce(DataFrame.unionByName, decided))
    return Decided(frame, frame.count(), _plan(plans))


def _items(rows: DataFrame, parts: list[Part], config: DedupConfig) -> DataFrame:
    """What the search takes: ``rank``, ``code``, ``context``, which is what must be equal besides: the text."""
    length = sum(part.bytes for part in parts)
    key = F.col("key")
    # Without texts Spark sees that no row needs looking at to know the context.
    context = F.substring(key, length + 1, 1 << 20) if config.text_col else F.lit(b"")
    return rows.select("rank", F.substring(key, 1, length).alias("code"), context.alias("context"))


def parts_of(config: DedupConfig, images: int) -> list[Part]:
    """What a key's code is made of: the images' main hashes, then their hashes for each ``--verify``."""
    bits = hash_widths(config)
    thresholds = [config.threshold, *(verify.threshold for verify in config.verifies)]
    return [
        Part(width, threshold, reported=index == 0)
        for index, (width, threshold) in enumerate(zip(bits, thresholds, strict=True))
        for _ in range(images)
    ]


def _plan(plans: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """For the log and summary.json: the search's own words; one for each number of images where there are several."""
    if len(plans) == 1:
        return next(iter(plans.values()))
    return {f"{images} images": plan for images, plan in plans.items()}
