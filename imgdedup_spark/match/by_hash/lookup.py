"""Few hashes against many: the few go to every task by broadcast, the many stay where they are and are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.arrow import BLOCK_HASHES, block_batch, values
from imgdedup_spark.kernels.barred import Numbers
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.blocks import Ranks, tables
from imgdedup_spark.kernels.hamming.nearest import Nearest
from imgdedup_spark.kernels.hamming.table import Matcher
from imgdedup_spark.kernels.hamming.units import FOUND_SCHEMA, REFERENCE, TARGET

_TARGET_SCHEMA = "target_ranks binary, target_words binary"
#: Reads the targets in one row of a batch.
ReadTargets = Callable[[Matcher, Any, int], tuple[Ranks, Words]]


def lookup_by_broadcast(matcher: Matcher, queries: DataFrame, targets: DataFrame, references: bool) -> DataFrame:
    """For every query that has a neighbour among the targets, the earliest (``FOUND_SCHEMA``), once a task that found
    any.

    Args:
        queries: a table in blocks (``TABLE_SCHEMA``), small enough for a broadcast.
        targets: ``matcher.columns``.
        references: whether the targets come before all queries; else only those of a smaller rank count.
    """

    def pack(batches: Iterator[Any]) -> Iterator[Any]:
        for ranks, words in tables(matcher, batches, BLOCK_HASHES):
            yield block_batch(target_ranks=ranks, target_words=words)

    packed = targets.select(*matcher.columns).mapInArrow(pack, _TARGET_SCHEMA)
    return _lookup(matcher, queries, packed, _read_table, REFERENCE if references else TARGET)


def lookup_packed(matcher: Matcher, queries: DataFrame, packed: DataFrame, numbers: Numbers) -> DataFrame:
    """The same for references that are packed already (``packed.PACKED``) and have no contexts.

    Args:
        numbers: of the references.
    """
    read = partial(_read_packed, numbers)
    return _lookup(matcher, queries, packed.select("base", "positions", "codes"), read, REFERENCE)


def _lookup(matcher: Matcher, queries: DataFrame, targets: DataFrame, read: ReadTargets, role: int) -> DataFrame:
    def search(batches: Iterator[Any]) -> Iterator[Any]:
        # By block of the queries, which nearly always are one.
        nearest: dict[int, Nearest] = {}
        for batch in batches:
            for row in range(batch.num_rows):
                block = batch.column("block")[row].as_py()
                if block not in nearest:
                    words = values(batch, "words", row, np.uint64).reshape(-1, matcher.width).copy()
                    nearest[block] = Nearest(matcher, role, values(batch, "ranks", row, np.int64).copy(), words)
                nearest[block].add(*read(matcher, batch, row))
        for one in nearest.values():
            yield one.result()

    # Broadcast because every block of targets is searched for all of them (NearOptions.lookup_hashes bounds their
    # number).
    joined = targets.crossJoin(F.broadcast(queries.select("block", "ranks", "words")))
    return joined.mapInArrow(search, FOUND_SCHEMA)


def _read_table(matcher: Matcher, batch: Any, row: int) -> tuple[Ranks, Words]:
    words = values(batch, "target_words", row, np.uint64).reshape(-1, matcher.width)
    return values(batch, "target_ranks", row, np.int64), words


def _read_packed(numbers: Numbers, matcher: Matcher, batch: Any, row: int) -> tuple[Ranks, Words]:
    ranks = values(batch, "positions", row, np.int64) + batch.column("base")[row].as_py()
    codes = values(batch, "codes", row, np.uint8).reshape(len(ranks), -1)
    return ranks, matcher.pack(codes, None, numbers.of(ranks))
