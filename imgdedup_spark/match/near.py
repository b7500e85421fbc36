"""Near-duplicates among a run's rows: distinct keys go to a search, its decisions come back as keys.

Two searches: hashes within some bits (``near``), and embeddings of some cosine (``embeddings.near``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.keys import hash_widths, short
from imgdedup_spark.kernels.hamming.table import Part
from imgdedup_spark.match.by_cosine import first_come as embeddings
from imgdedup_spark.match.by_hash import first_come as near
from imgdedup_spark.match.decided import Decided
from imgdedup_spark.match.equal import alone, decide_equal
from imgdedup_spark.spark.workspace import Stage

if TYPE_CHECKING:
    from imgdedup_spark.index.references import References


#: Distinct keys, how many they are, and references (``rank``, ``key``), of rows with so many images each → for every
#: key ``first``, ``keeper``, ``is_reference``, ``distance`` and, if asked for, ``max_similarity``; and a plan.
Search = Callable[[DataFrame, int, DataFrame | None, int], tuple[DataFrame, dict[str, Any]]]


def decide_near(rows: DataFrame, config: DedupConfig, stage: Stage, references: References | None = None) -> Decided:
    """Args:
    rows: ``key``, ``rank``, ``images``. Only rows of equally many images can match.
    references: rows that come before all of these.
    """
    search = _among_embeddings(config, stage) if config.is_embedding else _among_hashes(config, stage, references)
    groups = rows.groupBy("key", "images").agg(F.min("rank").alias("first"), F.count(F.lit(1)).alias("size"))
    groups = stage("groups", groups)
    known = None if references is None else references.keyed(config)
    counts = {row["images"]: row["count"] for row in groups.groupBy("images").count().collect()}
    started = time.perf_counter()
    decided, plans, highest = [], {}, []
    for images, count in sorted(counts.items()):
        here = groups.where(F.col("images") == images)
        known_here = None if known is None else known.where(F.col("images") == images)
        # Without an image there is nothing to be near to: equal texts alone match.
        if images == 0:
            equal = here.select(short(F.col("key")).alias("key"), "first", "size")
            equal = alone(equal) if known_here is None else decide_equal(equal, known_here)
            decided.append(equal.withColumn("distance", F.lit(None).cast("int")) if config.is_embedding else equal)
            continue
        found, plans[images] = search(here.withColumnRenamed("first", "rank"), count, known_here, images)
        joined = here.join(found, "first")
        if "max_similarity" in found.columns:
            # The search knows nothing of the copies that it stands for.
            best = F.when(F.col("size") > 1, 1.0).otherwise(F.col("max_similarity"))
            highest.append(joined.select("first", best.alias("max_similarity")))
        decided.append(
            joined.where("size > 1 or is_reference or keeper != first").select(
                short(F.col("key")).alias("key"), "first", "size", "keeper", "distance", "is_reference"
            )
        )
    if not decided:
        decided = [alone(groups)]
    frame = stage("decided", reduce(DataFrame.unionByName, decided))
    plan = _plan(plans, round(time.perf_counter() - started, 3))
    return Decided(frame, frame.count(), plan, reduce(DataFrame.unionByName, highest) if highest else None)


def _among_hashes(config: DedupConfig, stage: Stage, references: References | None) -> Search:
    def search(keys: DataFrame, count: int, known: DataFrame | None, images: int) -> tuple[DataFrame, dict[str, Any]]:
        parts = parts_of(config, images)
        length = sum(part.bytes for part in parts)
        items = _items(keys, "code", length, config)
        earlier = None if known is None else _items(known, "code", length, config)
        rows, packed = 0, None
        if references is not None:
            rows = references.rows
            if references.packed is not None:
                packed = references.packed.where(F.col("images") == images)
        decisions, plan = near.first_come(
            items, count, parts, stage=stage, references=earlier, known=rows, packed=packed
        )
        return decisions.withColumnRenamed("rank", "first"), plan

    return search


def _among_embeddings(config: DedupConfig, stage: Stage) -> Search:
    def search(keys: DataFrame, count: int, known: DataFrame | None, images: int) -> tuple[DataFrame, dict[str, Any]]:
        assert config.dimensions is not None
        length = 4 * config.dimensions * images
        items = _items(keys, "vector", length, config)
        references = None if known is None else _items(known, "vector", length, config)
        decisions, plan = embeddings.first_come(
            items,
            config.similarity,
            stage=stage,
            references=references,
            want_max=config.emit_hashes,
            images=images,
        )
        more = ["max_similarity"] if config.emit_hashes else []
        found = decisions.select(
            F.col("rank").alias("first"),
            F.coalesce("keeper", "rank").alias("keeper"),
            "is_reference",
            (1 - F.col("similarity")).alias("distance"),
            *more,
        )
        # Its decisions are planned from joins; they are read for the dropped rows and for max_similarity.
        return (stage("near_embeddings", found) if more else found), plan

    return search


def _items(rows: DataFrame, name: str, length: int, config: DedupConfig) -> DataFrame:
    """What a search takes: ``rank``, the first ``length`` bytes of the key as ``name``, and as ``context`` what must
    be equal besides, if anything must: the text."""
    key = F.col("key")
    context = [F.substring(key, length + 1, 1 << 20).alias("context")] if config.text_col else []
    return rows.select("rank", F.substring(key, 1, length).alias(name), *context)


def parts_of(config: DedupConfig, images: int) -> list[Part]:
    """What a key's code is made of: the images' main hashes, then their hashes for each ``--verify``."""
    bits = hash_widths(config)
    thresholds = [config.threshold, *(verify.threshold for verify in config.verifies)]
    return [
        Part(width, threshold, reported=index == 0)
        for index, (width, threshold) in enumerate(zip(bits, thresholds, strict=True))
        for _ in range(images)
    ]


def _plan(plans: dict[int, dict[str, Any]], seconds: float) -> dict[str, Any]:
    """For summary.json: the search's own words and how long it took; where there are several numbers of images, the
    words for each, as they are decided together."""
    if len(plans) == 1:
        return {**next(iter(plans.values())), "seconds": seconds}
    return {f"{images} images": plan for images, plan in plans.items()}
