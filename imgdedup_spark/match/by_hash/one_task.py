"""The way of few items: a single task decides on all of them in one pass, since every further query costs more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.arrow import record_batch
from imgdedup_spark.kernels.hamming.blocks import DECISION_SCHEMA, Ranks, batch_to_table, join_tables, sorted_by_rank
from imgdedup_spark.kernels.hamming.first_come import first_come_rule
from imgdedup_spark.kernels.hamming.table import Matcher, earliest_neighbours


def decide_in_one_task(matcher: Matcher, items: DataFrame, found: DataFrame | None) -> DataFrame:
    """Decisions (``DECISION_SCHEMA``), one row an item.

    Args:
        items: ``matcher.columns``.
        found: ``FOUND_SCHEMA``, references that some of the items are near to, any number an item; None for none.
    """
    rows = items.select(
        *matcher.columns, F.lit(None).cast("bigint").alias("neighbour"), F.lit(None).cast("int").alias("distance")
    )
    if found is not None:
        rows = rows.unionByName(found.select("rank", "neighbour", "distance"), allowMissingColumns=True)

    def decide(batches: Iterator[Any]) -> Iterator[Any]:
        pieces, near = [], []
        for batch in batches:
            is_found = pc.is_valid(batch.column("neighbour"))
            near.append([np.asarray(batch.filter(is_found).column(name)) for name in ("rank", "neighbour", "distance")])
            own = batch.filter(pc.invert(is_found))
            if own.num_rows:
                pieces.append(batch_to_table(matcher, own))
        if not pieces:
            return
        ranks, words = sorted_by_rank(*join_tables(matcher, pieces))
        gone, neighbours, distances = _earliest(*(np.concatenate(column) for column in zip(*near, strict=True)))
        if len(gone):
            yield record_batch(
                rank=gone, keeper=neighbours, is_reference=np.ones(len(gone), np.bool_), distance=distances
            )
            still_open = ~np.isin(ranks, gone)
            ranks, words = ranks[still_open], words[still_open]
        if len(ranks):
            keeper, _ = first_come_rule(matcher, words, earliest_neighbours(matcher, words))
            yield record_batch(
                rank=ranks,
                keeper=ranks[keeper],
                is_reference=np.zeros(len(ranks), np.bool_),
                distance=matcher.distances(words, np.arange(len(ranks), dtype=np.int32), keeper),
            )

    return rows.repartition(1).mapInArrow(decide, DECISION_SCHEMA)


def _earliest(
    ranks: Ranks, neighbours: Ranks, distances: npt.NDArray[np.int32]
) -> tuple[Ranks, Ranks, npt.NDArray[np.int32]]:
    """One row a rank: that of its earliest neighbour."""
    order = np.lexsort((neighbours, ranks))
    ranks, neighbours, distances = ranks[order], neighbours[order], distances[order]
    first = np.ones(len(ranks), np.bool_)
    first[1:] = ranks[1:] != ranks[:-1]
    return ranks[first], neighbours[first], distances[first]
