"""Unreadable pictures that end a run: one is too many for the user, or so many are that it is not their own fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import JobError
from imgdedup_spark.hash.problems import errors_only, failed

#: Of so many pictures, so large a share that fails for one reason is a fault of the job's and not of the pictures: even
#: old lists of links have one in twenty that is well, and of fewer than twenty pictures all may be bad by chance.
FEWEST_ALIKE, SHARE_ALIKE = 20, 0.95


def nearly_all_failed(counts: Sequence[Any]) -> bool:
    """Whether so many pictures are unreadable that it may not be their own fault.

    Args:
        counts: of ``Source.count`` with ``Prints.aggregates``.
    """
    images, errors = (sum(one[name] for one in counts) for name in ("images", "failed"))
    return images >= FEWEST_ALIKE and errors >= SHARE_ALIKE * images


def stop_on_errors(prints: DataFrame, config: DedupConfig, counts: Sequence[Any]) -> None:
    """Args:
        counts: of the prints.

    Raises:
        JobError: ``on_error`` is ``fail`` and a picture is unreadable, or it is not given and nearly all of them are,
            for one reason.
    """
    if config.on_error is None and nearly_all_failed(counts):
        _stop_if_alike(prints, sum(one["images"] for one in counts))
    if config.on_error != "fail":
        return
    bad = failed(prints)
    first = bad.select(errors_only().alias("errors")).limit(1).collect()
    if first:
        error = first[0]["errors"][0]
        raise JobError(
            f"{bad.count()} rows have unreadable images, one of them: {error['error']}: {error['message']}; "
            "--on-error keep or drop goes on without them"
        )


def _stop_if_alike(prints: DataFrame, images: int) -> None:
    errors = failed(prints).select(F.explode(errors_only()).alias("one")).select("one.error", "one.message")
    kinds = errors.groupBy("error").agg(F.count(F.lit(1)).alias("count"), F.min("message").alias("message"))
    most = max(kinds.collect(), key=lambda one: one["count"])
    if most["count"] >= SHARE_ALIKE * images:
        raise JobError(
            f"{most['count']:,} of {images:,} images fail alike, one of them: {most['error']}: {most['message']}; "
            "--on-error keep or drop goes on all the same"
        )
