"""The broadcast path: the whole table goes to every task, no candidate is shuffled.

Spark Connect has no broadcast variables, so the table is a few rows of packed blocks, cross-joined with a
broadcast hint onto one row a task; each task reads its row and the blocks in ``mapInArrow`` and searches its share
of the keys. Classic Spark takes the same way. What comes back is each hash's earliest neighbour, and one last task
decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.arrow import BLOCK_HASHES, block_batch, values
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.blocks import (
    DECISION_BLOCK_SCHEMA,
    DECISION_SCHEMA,
    TABLE_SCHEMA,
    Ranks,
    decision_blocks,
    join_tables,
    sorted_by_rank,
    table_blocks,
    tables,
    unpack_decisions,
)
from imgdedup_spark.kernels.hamming.compare import Rows
from imgdedup_spark.kernels.hamming.first_come import first_come_rule
from imgdedup_spark.kernels.hamming.table import Matcher
from imgdedup_spark.kernels.hamming.units import search_share

MINIMA_SCHEMA = "rows binary, best binary"
_TABLE, _MINIMA = 0, 1


def build_table(matcher: Matcher, items: DataFrame, count: int) -> DataFrame:
    """The items as one table in keep order, in blocks of ``TABLE_SCHEMA``. Packed in parallel, merged by one task."""

    def pack_and_merge(batches: Iterator[Any]) -> Iterator[Any]:
        yield from table_blocks(*sorted_by_rank(*join_tables(matcher, list(tables(matcher, batches)))))

    if count <= BLOCK_HASHES:
        # Packing so few takes less time than another pass through Python.
        return items.repartition(1).mapInArrow(pack_and_merge, TABLE_SCHEMA)

    def pack(batches: Iterator[Any]) -> Iterator[Any]:
        for ranks, words in tables(matcher, batches):
            yield block_batch(block=0, ranks=ranks, words=words)

    def merge(batches: Iterator[Any]) -> Iterator[Any]:
        pieces = [piece for _, piece in _blocks(matcher, batches)]
        yield from table_blocks(*sorted_by_rank(*join_tables(matcher, pieces)))

    return items.mapInArrow(pack, TABLE_SCHEMA).repartition(1).mapInArrow(merge, TABLE_SCHEMA)


def decide_by_broadcast(matcher: Matcher, table: DataFrame, tasks: int) -> DataFrame:
    """Decisions (``DECISION_SCHEMA``) for a table in blocks.

    Args:
        table: ``TABLE_SCHEMA``; read twice.
        tasks: tasks that search.
    """
    empty = F.lit(None).cast("binary")
    rows = table.select(
        F.lit(_TABLE).alias("kind"), "block", "ranks", "words", empty.alias("rows"), empty.alias("best")
    )
    minima = _minima(matcher, table, tasks).select(
        F.lit(_MINIMA).alias("kind"),
        F.lit(0).alias("block"),
        empty.alias("ranks"),
        empty.alias("words"),
        "rows",
        "best",
    )
    blocks = rows.unionAll(minima).repartition(1).mapInArrow(_decide(matcher), DECISION_BLOCK_SCHEMA)
    return blocks.repartition(tasks).mapInArrow(unpack_decisions, DECISION_SCHEMA)


def _minima(matcher: Matcher, table: DataFrame, tasks: int) -> DataFrame:
    """The earliest neighbours that each task finds, in blocks of ``MINIMA_SCHEMA``."""
    # One row a partition: an Arrow batch then holds the table once.
    numbers = table.sparkSession.range(0, tasks, 1, tasks).select(F.col("id").cast("int").alias("task"))
    # Broadcast because every task needs all of it and it fits (NearOptions.broadcast_bytes).
    joined = numbers.crossJoin(F.broadcast(table.select("block", F.lit(None).cast("binary").alias("ranks"), "words")))

    def search(batches: Iterator[Any]) -> Iterator[Any]:
        task = -1

        def noting_task() -> Iterator[Any]:
            nonlocal task
            for batch in batches:
                if batch.num_rows:
                    task = batch.column("task")[0].as_py()
                yield batch

        pieces = sorted(_blocks(matcher, noting_task()), key=lambda piece: piece[0])
        _, words = join_tables(matcher, [piece for _, piece in pieces])
        rows, best = search_share(matcher, words, task, tasks)
        if len(rows):
            yield block_batch(rows=rows, best=best)

    return joined.mapInArrow(search, MINIMA_SCHEMA)


def _decide(matcher: Matcher) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def decide(batches: Iterator[Any]) -> Iterator[Any]:
        minima: list[tuple[Rows, Rows]] = []

        def table_rows() -> Iterator[Any]:
            for batch in batches:
                kinds = batch.column("kind").to_pylist()
                minima.extend(
                    (values(batch, "rows", i, np.int32), values(batch, "best", i, np.int32))
                    for i, kind in enumerate(kinds)
                    if kind == _MINIMA
                )
                yield batch

        pieces = sorted(_blocks(matcher, table_rows()), key=lambda piece: piece[0])
        ranks, words = join_tables(matcher, [piece for _, piece in pieces])
        rows = np.arange(len(ranks), dtype=np.int32)
        best = rows.copy()
        for found, earliest in minima:
            best[found] = np.minimum(best[found], earliest)
        keeper, _ = first_come_rule(matcher, words, best)
        distances = matcher.distances(words, rows, keeper)
        yield from decision_blocks(ranks, ranks[keeper], np.zeros(len(ranks), dtype=np.bool_), distances)

    return decide


def _blocks(matcher: Matcher, batches: Iterator[Any]) -> Iterator[tuple[int, tuple[Ranks, Words]]]:
    """The table's blocks among the rows, with their numbers; rows without words are passed over."""
    for batch in batches:
        for row in range(batch.num_rows):
            words = values(batch, "words", row, np.uint64)
            if len(words):
                number = batch.column("block")[row].as_py()
                yield number, (values(batch, "ranks", row, np.int64), words.reshape(-1, matcher.width))
