"""Few hashes against many: the few go to every task by broadcast, the many stay where they are and are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.bands import Words
from imgdedup_spark.blocks import block_batch, record_batch, values
from imgdedup_spark.hamming import Matcher
from imgdedup_spark.near_blocks import BLOCK_HASHES, Ranks, join_tables, tables
from imgdedup_spark.near_shuffle import FOUND_SCHEMA, QUERY, REFERENCE, TARGET, search_unit

_TARGET_SCHEMA = "target_ranks binary, target_words binary"

#: Reads the targets in one row of a batch.
ReadTargets = Callable[[Matcher, Any, int], tuple[Ranks, Words]]


def lookup_by_broadcast(matcher: Matcher, queries: DataFrame, targets: DataFrame, references: bool) -> DataFrame:
    """For every query that has a neighbour among the targets, the earliest (``FOUND_SCHEMA``), once a task that found
    any.

    Args:
        queries: a table in blocks (``TABLE_SCHEMA``), small enough for a broadcast.
        targets: rank, code and (with contexts) context.
        references: whether the targets come before all queries; else only those of a smaller rank count.
    """

    def pack(batches: Iterator[Any]) -> Iterator[Any]:
        for ranks, words in tables(matcher, batches, BLOCK_HASHES):
            yield block_batch(target_ranks=ranks, target_words=words)

    columns = ["rank", "code", *(["context"] if matcher.contexts else [])]
    packed = targets.select(*columns).mapInArrow(pack, _TARGET_SCHEMA)
    return _lookup(matcher, queries, packed, _read_table, REFERENCE if references else TARGET)


def lookup_packed(matcher: Matcher, queries: DataFrame, packed: DataFrame) -> DataFrame:
    """The same for references that are packed already (``packed.PACKED``) and have no contexts."""
    return _lookup(matcher, queries, packed.select("base", "positions", "codes"), _read_packed, REFERENCE)


def _lookup(matcher: Matcher, queries: DataFrame, targets: DataFrame, read: ReadTargets, role: int) -> DataFrame:
    def search(batches: Iterator[Any]) -> Iterator[Any]:
        # By block of the queries, which nearly always are one.
        nearest: dict[int, _Nearest] = {}
        for batch in batches:
            for row in range(batch.num_rows):
                block = batch.column("block")[row].as_py()
                if block not in nearest:
                    words = values(batch, "words", row, np.uint64).reshape(-1, matcher.width).copy()
                    nearest[block] = _Nearest(matcher, role, values(batch, "ranks", row, np.int64).copy(), words)
                nearest[block].add(*read(matcher, batch, row))
        for one in nearest.values():
            yield one.result()

    # Broadcast because every block of targets is searched for all of them (NearOptions.lookup_hashes bounds their
    # number).
    joined = targets.crossJoin(F.broadcast(queries.select("block", "ranks", "words")))
    return joined.mapInArrow(search, FOUND_SCHEMA)


class _Nearest:
    """The earliest neighbours of a block of queries among the targets that a task sees."""

    def __init__(self, matcher: Matcher, role: int, ranks: Ranks, words: Words) -> None:
        """Args:
        ranks: of the queries, ascending.
        """
        self.matcher, self.role, self.ranks, self.words = matcher, role, ranks, words
        self.neighbour = np.full(len(ranks), np.iinfo(np.int64).max)
        self.distance = np.zeros(len(ranks), np.int32)
        self.waiting: list[tuple[Ranks, Words]] = []
        self.count = 0

    def add(self, ranks: Ranks, words: Words) -> None:
        # A copy, because the batch that the arrays lie in does not last.
        self.waiting.append((ranks.copy(), words.copy()))
        self.count += len(ranks)
        # Few targets are not worth a search: the queries are put into buckets each time.
        if self.count >= BLOCK_HASHES:
            self._search()

    def result(self) -> Any:
        """A batch of ``FOUND_SCHEMA``."""
        self._search()
        found = np.flatnonzero(self.neighbour < np.iinfo(np.int64).max)
        return record_batch(
            rank=self.ranks[found],
            is_reference=np.full(len(found), self.role == REFERENCE),
            neighbour=self.neighbour[found],
            distance=self.distance[found],
        )

    def _search(self) -> None:
        if not self.count:
            return
        targets = join_tables(self.matcher, self.waiting)
        self.waiting, self.count = [], 0
        # Blocks mostly come in order: who has a neighbour before all of these targets needs no other.
        still = self.neighbour > targets[0].min()
        if not still.any():
            return
        queries = self.ranks[still], self.words[still]
        ranks, words = (np.concatenate(both) for both in zip(targets, queries, strict=True))
        roles = np.full(len(ranks), QUERY, dtype=np.uint8)
        roles[: len(targets[0])] = self.role
        for batch in search_unit(self.matcher, (), ranks, words, roles):
            at = np.searchsorted(self.ranks, batch.column("rank").to_numpy())
            neighbour = batch.column("neighbour").to_numpy()
            earlier = neighbour < self.neighbour[at]
            self.neighbour[at[earlier]] = neighbour[earlier]
            self.distance[at[earlier]] = batch.column("distance").to_numpy()[earlier]


def _read_table(matcher: Matcher, batch: Any, row: int) -> tuple[Ranks, Words]:
    words = values(batch, "target_words", row, np.uint64).reshape(-1, matcher.width)
    return values(batch, "target_ranks", row, np.int64), words


def _read_packed(matcher: Matcher, batch: Any, row: int) -> tuple[Ranks, Words]:
    ranks = values(batch, "positions", row, np.int64) + batch.column("base")[row].as_py()
    return ranks, matcher.pack(values(batch, "codes", row, np.uint8).reshape(len(ranks), -1))
