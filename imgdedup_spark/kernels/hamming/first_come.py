"""Who is kept: the first-come rule on one table, given each row's earliest neighbour. NumPy and Numba, no Spark.

A row whose earliest neighbour is kept is dropped by it; a row without an earlier neighbour is kept. That settles
nearly all rows in one sweep. What stays open (the earliest neighbour is itself dropped, so the next one counts) is
gone through in keep order, block by block: a block is searched for neighbours among the rows kept so far, then walked
row by row. However long a chain of neighbours is (the frames of a video, each like the next), no number of rounds
depends on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.compare import LANES, Rows, Table, filter_words, first_passing, match
from imgdedup_spark.kernels.hamming.table import Matcher

Flags = npt.NDArray[np.bool_]
KEPT = -1
DROPPED_OUTSIDE = -2
OPEN = -3
# A block of b open rows costs about 0.01 b * b nanoseconds for the comparisons among themselves and one search among
# the n kept rows, some 120 ns a row: sqrt(12,000 n) balances the two (10 million real hashes: 16 s instead of 28 s with
# blocks a quarter of that). Smaller blocks would be all overhead.
_BLOCK_FACTOR = 12_000
_BLOCK_MIN = 16_384


def first_come_rule(matcher: Matcher, table: Words, best: Rows, block: int | None = None) -> tuple[Rows, int]:
    """Every row's keeper, its own number if it is kept, and how many rows the first sweep left open.

    Args:
        table: ``(n, width)`` in keep order.
        best: ``(n,)`` the earliest neighbour of each row, or its own number.
        block: rows of a block, for tests.
    """
    keeper = first_sweep(best)
    rows = np.arange(len(table), dtype=np.int32)
    todo = np.flatnonzero(keeper == OPEN).astype(np.int32)
    if len(todo):
        outside = np.zeros(len(todo), dtype=np.bool_)
        keeper[todo] = resolve(matcher, table, todo, keeper == rows, todo, outside, block)
        keeper[keeper == KEPT] = rows[keeper == KEPT]
    return keeper, len(todo)


def resolve(
    matcher: Matcher,
    table: Words,
    todo: Rows,
    kept: Flags,
    limits: Rows,
    outside: Flags,
    block: int | None = None,
) -> Rows:
    """Decides the open rows in keep order.

    Args:
        table: ``(n, width)``.
        todo: ``(m,)`` row numbers, ascending, of the open rows.
        kept: ``(n,)`` the rows that are kept already.
        limits: ``(m,)`` a keeper in this table must have a smaller row number than this (at most the row's own).
        outside: ``(m,)`` whether a keeper outside the table is known, which comes just before the limit.

    Returns:
        ``(m,)``: the keeper's row number, ``KEPT``, or ``DROPPED_OUTSIDE``.
    """
    if block is None:
        block = block_of(len(table))
    kept = kept.copy()
    best = np.zeros(len(table), dtype=np.int32)
    best[todo] = limits
    result = np.empty(len(todo), dtype=np.int32)
    for start in range(0, len(todo), block):
        part = slice(start, start + block)
        queries = todo[part]
        targets = np.flatnonzero(kept[: queries[-1]]).astype(np.int32)
        matcher.search(table, targets, queries, best)
        compared = Table(table, matcher.spans, matcher.barred)
        result[part] = _walk_block(compared, queries, best, limits[part], outside[part], kept, matcher.filter_words)
    return result


def block_of(rows: int) -> int:
    """Open rows to go through at once, for a table of so many."""
    return max(_BLOCK_MIN, int((_BLOCK_FACTOR * rows) ** 0.5))


@compiled
def first_sweep(best: Rows) -> Rows:
    """Each row's keeper as far as the earliest neighbours tell, else ``OPEN``."""
    keeper = np.empty(best.size, dtype=np.int32)
    for row in range(best.size):
        earliest = best[row]
        # For a row without an earlier neighbour, `earliest` is the row itself.
        if earliest == row or keeper[earliest] == earliest:
            keeper[row] = earliest
        else:
            keeper[row] = OPEN
    return keeper


@compiled
def _walk_block(table: Table, rows: Rows, best: Rows, limits: Rows, outside: Flags, kept: Flags, words: int) -> Rows:
    """Walks a block row by row; ``best`` knows the earliest keeper from before the block. Marks the newly kept."""
    result = np.empty(rows.size, dtype=np.int32)
    codes = np.empty((words, rows.size + LANES), dtype=np.uint64)
    kept_rows = np.empty(rows.size, dtype=np.int32)
    count = 0
    table_words, spans, barred = table
    threshold = spans[0, 2]
    x = np.zeros((4, 1), dtype=np.uint64)
    for i in range(rows.size):
        row = rows[i]
        for w in range(words):
            x[w, 0] = table_words[row, w]
        stop = np.searchsorted(kept_rows[:count], best[row])
        code = filter_words(x, 0)
        s = first_passing(codes, 0, stop, code, threshold)
        while s >= 0:
            if match(table_words, spans, barred, kept_rows[s], row):
                best[row] = kept_rows[s]
                break
            s = first_passing(codes, s + 1, stop, code, threshold)
        if best[row] < limits[i]:
            result[i] = best[row]
        elif outside[i]:
            result[i] = DROPPED_OUTSIDE
        else:
            result[i] = KEPT
            kept[row] = True
            kept_rows[count] = row
            for w in range(words):
                codes[w, count] = x[w, 0]
            count += 1
    return result
