"""The first-come rule among rows of several hashes each (views of a picture): two rows match if a hash of the later one
is near one of the earlier one. NumPy and Numba, no Spark.

A table holds an entry for each hash, row after row. The search is that of ``table``: an entry's neighbour must come
before the first entry of its own row, and the earliest entry that is found belongs to the earliest row. What the first
sweep leaves open is gone through as in ``first_come``, row by row instead of hash by hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.compare import LANES, Rows, Table, filter_words, first_passing, match, popcount
from imgdedup_spark.kernels.hamming.first_come import OPEN, Flags, block_of, first_sweep
from imgdedup_spark.kernels.hamming.table import Matcher

__all__ = ["Several", "closest", "first_come_of_several"]


@dataclass(frozen=True)
class Several:
    """Rows of several hashes.

    Attributes:
        table: ``(m, width)``, the entries of all rows, rows in keep order.
        starts: ``(n + 1,)`` int32, where each row's entries begin; each has at least one.
        asked: ``(m,)`` whether hashes of later rows may be near this one; each row has one that they may.
    """

    table: Words
    starts: Rows
    asked: Flags

    @cached_property
    def rows(self) -> Rows:
        """``(m,)`` the row of each entry."""
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))

    def entries_of(self, rows: Rows) -> Rows:
        """The entries of some rows, ascending as those are."""
        counts = np.diff(self.starts)[rows]
        before = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(rows) else np.zeros(0)
        return (np.repeat(self.starts[rows] - before, counts) + np.arange(counts.sum())).astype(np.int32)


def first_come_of_several(
    matcher: Matcher, several: Several, block: int | None = None, references: int = 0, *, among: bool = True
) -> Rows:
    """``(n,)`` every row's keeper, its own number if it is kept.

    Args:
        block: rows of a block, for tests.
        references: how many of the rows, the first ones, are kept once and for all.
        among: whether the other rows are compared with each other, too.
    """
    count = len(several.starts) - 1
    if not count:
        return np.zeros(0, np.int32)
    entries = np.arange(len(several.table), dtype=np.int32)
    own = several.starts[references]
    targets = entries if several.asked.all() else np.flatnonzero(several.asked).astype(np.int32)
    if not among:
        targets = targets[: np.searchsorted(targets, own)]
    best = several.starts[several.rows]
    matcher.search(several.table, targets, entries[own:] if references else entries, best)
    # An entry without an earlier neighbour has the first one of its own row.
    keeper = first_sweep(np.minimum.reduceat(several.rows[best], several.starts[:-1]))
    todo = np.flatnonzero(keeper == OPEN).astype(np.int32)
    if len(todo):
        _resolve(matcher, several, todo, keeper, block or block_of(len(several.table)))
    return keeper


def _resolve(matcher: Matcher, several: Several, todo: Rows, keeper: Rows, block: int) -> None:
    """Decides the open rows in keep order, and writes who stands for them into ``keeper``."""
    kept = keeper == np.arange(len(keeper))
    best = np.zeros(len(several.table), dtype=np.int32)
    for start in range(0, len(todo), block):
        part = todo[start : start + block]
        queries = several.entries_of(part)
        best[queries] = several.starts[several.rows[queries]]
        before = np.flatnonzero(several.asked & kept[several.rows])
        targets = before[: np.searchsorted(before, queries[-1])].astype(np.int32)
        matcher.search(several.table, targets, queries, best)
        compared = Table(several.table, matcher.spans, matcher.barred)
        found = _walk(compared, several.starts, several.asked, part, len(queries), best, matcher.filter_words)
        keeper[part] = several.rows[found]
        kept[part] = keeper[part] == part


@compiled
def _walk(table: Table, starts: Rows, asked: Flags, rows: Rows, most: int, best: Rows, words: int) -> Rows:
    """The first-found entry of each row of a block, its own first one if it is kept; ``best`` knows the earliest
    entries of keepers from before the block."""
    result = np.empty(rows.size, dtype=np.int32)
    codes = np.empty((words, most + LANES), dtype=np.uint64)
    kept_entries = np.empty(most, dtype=np.int32)
    count = 0
    table_words, spans, barred = table
    threshold = spans[0, 2]
    x = np.zeros((4, 1), dtype=np.uint64)
    for i in range(rows.size):
        first, end = starts[rows[i]], starts[rows[i] + 1]
        earliest = first
        for entry in range(first, end):
            earliest = min(earliest, best[entry])
        stop = np.searchsorted(kept_entries[:count], earliest)
        for entry in range(first, end):
            for w in range(words):
                x[w, 0] = table_words[entry, w]
            code = filter_words(x, 0)
            s = first_passing(codes, 0, stop, code, threshold)
            while s >= 0:
                if match(table_words, spans, barred, kept_entries[s], entry):
                    earliest = kept_entries[s]
                    stop = s
                    break
                s = first_passing(codes, s + 1, stop, code, threshold)
        result[i] = earliest
        if earliest == first:
            for entry in range(first, end):
                if asked[entry]:
                    kept_entries[count] = entry
                    for w in range(words):
                        codes[w, count] = table_words[entry, w]
                    count += 1
    return result


def closest(matcher: Matcher, several: Several, rows: Rows, keepers: Rows) -> npt.NDArray[np.int32]:
    """``(k, 3)``: of each row and its keeper, which match, the two nearest entries that do, and their distance. Of
    several that are equally near, the row's earliest, with the keeper's earliest."""
    return _closest(Table(several.table, matcher.spans, matcher.barred), several.starts, several.asked, rows, keepers)


@compiled
def _closest(table: Table, starts: Rows, asked: Flags, rows: Rows, keepers: Rows) -> Any:
    words, spans, barred = table
    out = np.zeros((rows.size, 3), dtype=np.int32)
    for i in range(rows.size):
        least = -1
        for entry in range(starts[rows[i]], starts[rows[i] + 1]):
            for other in range(starts[keepers[i]], starts[keepers[i] + 1]):
                if not asked[other] or not match(words, spans, barred, other, entry):
                    continue
                most = 0
                for part in range(spans.shape[0]):
                    if spans[part, 3]:
                        different = 0
                        for w in range(spans[part, 0], spans[part, 1]):
                            different += popcount(words[entry, w] ^ words[other, w])
                        most = max(most, different)
                if least < 0 or most < least:
                    least = most
                    out[i, 0], out[i, 1], out[i, 2] = entry, other, most
    return out
