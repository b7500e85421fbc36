"""The last walk of a search by shuffle, and its decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.arrow import record_batch
from imgdedup_spark.kernels.hamming.blocks import join_tables, tables
from imgdedup_spark.kernels.hamming.first_come import DROPPED_OUTSIDE, resolve
from imgdedup_spark.kernels.hamming.table import Matcher


def resolve_rest(matcher: Matcher, block: int | None) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """The last walk: open items with their earliest keeper from outside, if any, to those that are dropped."""

    def walk(batches: Iterator[Any]) -> Iterator[Any]:
        outside: list[tuple[Any, Any, Any]] = []

        def noting_outside() -> Iterator[Any]:
            for batch in batches:
                has = batch.column("neighbour").is_valid().to_numpy(zero_copy_only=False)
                neighbour = batch.column("neighbour").fill_null(0).to_numpy()
                distance = batch.column("distance").fill_null(0).to_numpy()
                outside.append((has, neighbour, distance))
                yield batch

        ranks, words = join_tables(matcher, list(tables(matcher, noting_outside())))
        if not len(ranks):
            return
        has, neighbour, distance = (np.concatenate(column) for column in zip(*outside, strict=True))
        order = np.argsort(ranks)
        ranks, words = ranks[order], words[order]
        has, neighbour, distance = has[order], neighbour[order], distance[order]
        rows = np.arange(len(ranks), dtype=np.int32)
        limits = np.where(has, np.searchsorted(ranks, neighbour), rows).astype(np.int32)
        keeper = resolve(matcher, words, rows, np.zeros(len(ranks), dtype=np.bool_), limits, has, block)
        inside = np.flatnonzero(keeper >= 0)
        beyond = np.flatnonzero(keeper == DROPPED_OUTSIDE)
        yield record_batch(
            rank=np.concatenate([ranks[inside], ranks[beyond]]),
            neighbour=np.concatenate([ranks[keeper[inside]], neighbour[beyond]]),
            distance=np.concatenate([matcher.distances(words, rows[inside], keeper[inside]), distance[beyond]]).astype(
                np.int32
            ),
        )

    return walk


def decisions_of(items: DataFrame, dropped: DataFrame) -> DataFrame:
    """``DECISION_SCHEMA`` for all items, from the dropped ones."""
    return (
        items.select("rank")
        .join(dropped, "rank", "left")
        .select(
            "rank",
            F.coalesce("neighbour", "rank").alias("keeper"),
            F.lit(False).alias("is_reference"),
            F.coalesce("distance", F.lit(0)).cast("int").alias("distance"),
        )
    )
