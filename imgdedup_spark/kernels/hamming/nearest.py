"""The earliest neighbour of each query, gathered block by block."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgdedup_spark.kernels.arrow import BLOCK_HASHES, record_batch
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.blocks import Ranks, join_tables
from imgdedup_spark.kernels.hamming.table import Matcher
from imgdedup_spark.kernels.hamming.units import QUERY, REFERENCE, search_unit


class Nearest:
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
