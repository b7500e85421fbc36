"""Matching: which rows have a twin, and which of the twins comes first."""

from __future__ import annotations

import time
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.apart import NUMBER
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.index.references import References
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.match.decided import Decided, short
from imgdedup_spark.match.equal import alone, decide_equal
from imgdedup_spark.match.excluded import equal_but, with_sameness
from imgdedup_spark.spark.workspace import Stage


def decide(
    rows: DataFrame,
    prints: Prints,
    stage: Stage,
    references: References | None = None,
    excluded: Exclusions | None = None,
) -> Decided:
    """Decides about every distinct key.

    Args:
        rows: ``key``, ``rank`` (bigint, unique, smaller stays) and ``images``; if some are excluded, also ``number``
            (``hash.apart``).
        prints: what they are compared by.
        stage: freezes a DataFrame.
        references: rows that come before all of these.
        excluded: what never matches.
    """
    if prints.is_near():
        return _decide_near(rows, prints, stage, references, excluded)
    first, size = F.min("rank").alias("first"), F.count(F.lit(1)).alias("size")
    groups = rows.groupBy(short(F.col("key")).alias("key")).agg(first, size)
    if excluded is not None:
        groups = stage("groups", rows.groupBy("key", NUMBER).agg(first, size))
        known = None if references is None else references.keyed(prints, excluded)
        decided = stage("decided", equal_but(groups, known, excluded.barred))
    elif references is None:
        decided = stage("decided", alone(groups))
    else:
        decided = stage("decided", decide_equal(stage("groups", groups), references.keyed(prints)))
    return Decided(decided, decided.count())


def _decide_near(
    rows: DataFrame, prints: Prints, stage: Stage, references: References | None, excluded: Exclusions | None
) -> Decided:
    # Only here: a run that finds equal keys needs none of it.
    from imgdedup_spark.match.near import search_of

    search = search_of(prints, stage, references, excluded)
    more = [] if excluded is None else [NUMBER]
    first, size = F.min("rank").alias("first"), F.count(F.lit(1)).alias("size")
    groups = stage("groups", rows.groupBy("key", "images", *more).agg(first, size))
    known = None if references is None else references.keyed(prints, excluded)
    # Only rows of equally many images can match.
    counts = {row["images"]: row["count"] for row in groups.groupBy("images").count().collect()}
    started = time.perf_counter()
    decided, plans, highest = [], {}, []
    for images, count in sorted(counts.items()):
        here = groups.where(F.col("images") == images)
        known_here = None if known is None else known.where(F.col("images") == images)
        # Without an image, or with a flat one, there is nothing to be near to: equal texts and keys alone match.
        if images <= 0:
            decided.append(search.of_texts(_equal(here, known_here, excluded)))
            continue
        found, plans[images] = search(here.withColumnRenamed("first", "rank"), count, known_here, images)
        joined = here.join(found, "first")
        if excluded is not None:
            joined = with_sameness(joined, here)
        if "max_similarity" in found.columns:
            # The search knows nothing of the copies that it stands for.
            best = F.when(F.col("size") > 1, 1.0).otherwise(F.col("max_similarity"))
            highest.append(joined.select("first", best.alias("max_similarity")))
        decided.append(
            joined.where("size > 1 or is_reference or keeper != first").select(
                short(F.col("key")).alias("key"),
                "first",
                "size",
                "keeper",
                "distance",
                "is_reference",
                *([] if excluded is None else ["is_same"]),
            )
        )
    frame = stage("decided", reduce(DataFrame.unionByName, decided or [_equal(groups, None, excluded)]))
    plan = joined_plan(plans, round(time.perf_counter() - started, 3))
    return Decided(frame, frame.count(), plan, reduce(DataFrame.unionByName, highest) if highest else None)


def _equal(groups: DataFrame, known: DataFrame | None, excluded: Exclusions | None) -> DataFrame:
    """What equal keys alone decide about ``key``, ``first``, ``size``."""
    if excluded is not None:
        return equal_but(groups, known, excluded.barred)
    equal = groups.select(short(F.col("key")).alias("key"), "first", "size")
    return alone(equal) if known is None else decide_equal(equal, known)


def joined_plan(plans: dict[int, dict[str, Any]], seconds: float) -> dict[str, Any]:
    """For summary.json: the search's own words and how long it took; where there are several numbers of images, the
    words for each, as they are decided together."""
    if len(plans) == 1:
        return {**next(iter(plans.values())), "seconds": seconds}
    return {f"{images} images": plan for images, plan in plans.items()}
