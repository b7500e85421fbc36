"""Which vectors are close in cosine: exact tiles of matrix products, in NumPy and Numba, without Spark.

A product of all dimensions for every pair is mostly wasted work: almost every pair is far below the threshold, and a
few leading principal components are enough to prove it. By the Cauchy-Schwarz inequality, for an orthonormal basis B

    x . y  <=  (xB) . (yB) + |x - xBB'| |y - yBB'|

so one product of ``dims + 1`` columns (the last one holds the lengths of the rests) bounds every cosine of a tile from
above. Only pairs whose bound reaches the threshold are computed in full, in double precision and in a fixed order of
summation, so that a pair's similarity has the same bits wherever and beside whomever it is computed.
(Pruning inner products by partial products and a bound on the rest: Teflioudi, Gemulla and Mykytiuk, "LEMP",
SIGMOD 2015.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from imgdedup_spark.kernels.cosine.prefilter import Prefilter
from imgdedup_spark.kernels.cosine.rows import TILE_ROWS, TOLERANCE, Int64, Matches, Rows
from imgdedup_spark.kernels.cosine.scans import Found, Highest, Limits, Tile, least_products, scan_highest, scan_matches


def match(
    base: Rows,
    queries: Rows,
    similarity: float,
    *,
    prefilter: Prefilter | None = None,
    cap: int = 8,
    want_max: bool = False,
    spare: int = 0,
) -> Matches:
    """Finds for every query its earliest neighbours in the base, at most ``cap`` of them.

    A neighbour is a row of the query's block that comes earlier (any reference; an item whose rank lies between the
    query's cursor and its rank) with cosine - background >= ``similarity`` - ``TOLERANCE``. Memory: both arguments,
    their projections and one tile.

    Rows of several images match if all of their images do, place by place. The cosine of the rows' whole vectors is
    the mean of the images' cosines, which is at least the least of them: so whatever bounds it bounds that as well,
    and no pair is missed. Nor is any with backgrounds, whose mean is taken off that mean. Equal vectors match
    whatever the background.

    Args:
        base: sorted (see :meth:`Rows.take`). The vectors of a row's images, each of length 1 / sqrt(images), are one
            after another in the row's.
        queries: items only, sorted; may share rows with the base.
        similarity: the least cosine of a match.
        prefilter: see :class:`Prefilter`; ignored with ``want_max``, which needs every cosine.
        cap: neighbours to return for each query. One is enough to know that it has any; with eight, almost every
            query is decided without a second search (see ``cosine.first_come``).
        want_max: also return each item's highest cosine with any other row, of the base and the queries alike.
        spare: so many references may turn out not to count; less than ``cap``.
    """
    if prefilter is None or want_max:
        prefilter = Prefilter()
    threshold = similarity - TOLERANCE
    base_projected = prefilter.project(base.vectors)
    width = base_projected.shape[1] if base_projected.ndim == 2 else 0
    # Rounding of a single-precision sum of `width` products of numbers with squares that add up to at most 1
    # (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1), and of the projection.
    least = np.minimum(queries.background.mean(axis=1, dtype=np.float64) + threshold, 1 - TOLERANCE)
    bounds = least - (width + 8) * 2.0**-24 - 2e-6
    # Down to the next number of single precision, so that none is rounded up.
    bounds = np.nextafter(bounds.astype(np.float32), np.float32(-2.0))
    limits, images = Limits(threshold, spare), queries.background.shape[1]

    count = len(queries.rank)
    found = Found(
        np.zeros((count, cap), np.int64), np.zeros((count, cap)), np.zeros(count, np.int64), np.zeros(count, bool)
    )
    highest = Highest(np.full(len(base.rank), -2.0, np.float32), np.full(count, -2.0, np.float32))
    buffer = np.empty(TILE_ROWS * TILE_ROWS, np.float32)
    comparisons = 0

    for start, stop in _query_slices(queries.block):
        columns = np.arange(start, stop)
        projected = prefilter.project(queries.vectors[start:stop])
        low, high = _base_range(base, queries, start, stop)
        for first in range(low, high, TILE_ROWS):
            last = min(first + TILE_ROWS, high)
            shape = (last - first, len(columns))
            product = buffer[: shape[0] * shape[1]].reshape(shape)
            if want_max and images > 1:
                least_products(base.vectors[first:last], queries.vectors[start:stop], images, product)
            else:
                np.matmul(base_projected[first:last], projected.T, out=product)
            comparisons += product.size
            tile = Tile(product, first, columns, bounds[columns])
            scan_matches(tile, base, queries, limits, found)
            if want_max:
                scan_highest(tile, base.block, queries.block, _same_items(base, queries, tile), highest)
                continue
            # Queries that have their neighbours leave the product: in a cluster of frames of one video, soon all.
            active = ~found.done[columns]
            left = int(active.sum())
            if left == 0:
                break
            if left <= 0.8 * len(columns):
                columns = columns[active]
                projected = np.ascontiguousarray(projected[active])

    return _collect(base, queries, found, highest if want_max else None, comparisons)


def _query_slices(block: Int64) -> Iterator[tuple[int, int]]:
    """Slices of at most a tile's width. They end where a block ends, if that leaves them at least half as wide."""
    changes = np.flatnonzero(block[1:] != block[:-1]) + 1
    start, count = 0, len(block)
    while start < count:
        stop = min(start + TILE_ROWS, count)
        ends = changes[np.searchsorted(changes, start + TILE_ROWS // 2) : np.searchsorted(changes, stop)]
        if len(ends):
            stop = int(ends[-1])
        yield start, stop
        start = stop


def _base_range(base: Rows, queries: Rows, start: int, stop: int) -> tuple[int, int]:
    """The rows of the base that may match the queries of a slice."""
    low = int(np.searchsorted(base.block, queries.block[start], "left"))
    high = int(np.searchsorted(base.block, queries.block[stop - 1], "right"))
    if queries.block[start] == queries.block[stop - 1]:
        items = low + int(np.count_nonzero(base.is_reference[low:high]))
        ranks = base.rank[items:high]
        high = items + int(np.searchsorted(ranks, queries.rank[stop - 1], "left"))
        if items == low:
            low += int(np.searchsorted(ranks, queries.cursor[start:stop].min(), "right"))
    return low, high


def _same_items(base: Rows, queries: Rows, tile: Tile) -> Int64:
    """(rows,) int64: for each row of the tile the column that is the same item, or -1."""
    rows = slice(tile.first, tile.first + len(tile.products))
    query_ranks = queries.rank[tile.columns]
    order = np.argsort(query_ranks, kind="stable")
    ranks = query_ranks[order]
    place = np.minimum(np.searchsorted(ranks, base.rank[rows]), len(ranks) - 1)
    column = order[place]
    same = (ranks[place] == base.rank[rows]) & ~base.is_reference[rows]
    same &= queries.block[tile.columns[column]] == base.block[rows]
    return np.where(same, column, -1).astype(np.int64)


def _collect(base: Rows, queries: Rows, found: Found, highest: Highest | None, comparisons: int) -> Matches:
    cap = found.base.shape[1]
    taken = np.arange(cap)[None, :] < found.number[:, None]
    query_row, place = np.nonzero(taken)
    base_row = found.base[taken]
    is_reference = base.is_reference[base_row]
    count = found.number[query_row]
    more = (place == count - 1) & (count == cap) & found.done[query_row] & ~is_reference
    highest_rank, cosines = np.zeros(0, np.int64), np.zeros(0, np.float32)
    if highest is not None:
        items = ~base.is_reference
        highest_rank = np.concatenate([queries.rank, base.rank[items]])
        cosines = np.concatenate([highest.queries, highest.base[items]])
        known = cosines >= -1.5
        highest_rank, cosines = highest_rank[known], cosines[known]
    return Matches(
        query=queries.rank[query_row],
        base=base.rank[base_row],
        is_reference=is_reference,
        similarity=np.minimum(found.similarity[taken], 1.0),
        more=more,
        highest_rank=highest_rank,
        highest=cosines,
        comparisons=comparisons,
    )
