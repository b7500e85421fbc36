"""The counts of a run, as summary.json and ``DedupResult.summary()`` give them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from pyspark.sql import functions as F

from imgdedup_spark import __version__
from imgdedup_spark.pipeline import Found


def summarize(found: Found, stages: Mapping[str, Any]) -> dict[str, Any]:
    """``rows_in = rows_kept + rows_dropped + rows_dropped_on_error``, and what made them."""
    bad = F.size("errors") > 0
    counts = found.prints.agg(
        F.count(F.lit(1)).alias("rows"),
        F.coalesce(F.sum("images"), F.lit(0)).alias("images"),
        F.count(F.when(bad, 1)).alias("errors"),
    ).collect()[0]
    largest = found.groups.agg(F.count(F.lit(1)).alias("groups"), F.max("size").alias("largest")).collect()[0]
    on_error = counts["errors"] if found.config.on_error == "drop" else 0
    histogram = found.dropped.groupBy("distance").count().orderBy("distance").collect()
    return {
        "rows_in": counts["rows"],
        "rows_kept": counts["rows"] - found.dropped_count - on_error,
        "rows_dropped": found.dropped_count,
        "rows_dropped_on_error": on_error,
        "rows_with_errors": counts["errors"],
        "images": counts["images"],
        "groups": largest["groups"],
        "largest_group": (largest["largest"] or 0) + 1 if largest["groups"] else 0,
        "distances": {f"{row['distance']:g}": row["count"] for row in histogram},
        "plan": found.plan,
        "stages": dict(stages),
        "config": dataclasses.asdict(found.config),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of everything that can change a hash or a plan."""
    found = {"imgdedup_spark": __version__, "python": platform.python_version()}
    for package in ("pyspark", "Pillow", "imagehash", "pdqhash", "numpy", "pyarrow", "numba"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # On some platforms PySpark is part of the runtime and no installed package.
            continue
    return found
