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
from imgdedup_spark.kernels.cosine.rows import TILE_ROWS, TOLERANCE, Bool, Float32, Float64, Int64, Matches, Rows
from imgdedup_spark.kernels.cosine.scans import least_products, scan_highest, scan_matches


def match(
    base: Rows,
    queries: Rows,
    similarity: float,
    *,
    prefilter: Prefilter | None = None,
    cap: int = 8,
    want_max: bool = False,
    images: int = 1,
) -> Matches:
    """Finds for every query its earliest neighbours in the base, at most ``cap`` of them.

    A neighbour is a row of the query's block that comes earlier (any reference; an item whose rank lies between the
    query's cursor and its rank) with cosine >= ``similarity`` - ``TOLERANCE``. Memory: both arguments, their
    projections and one tile.

    Rows of several images match if all of their images do, place by place. The cosine of the rows' whole vectors is
    the mean of the images' cosines, which is at least the least of them: so whatever bounds it bounds that as well,
    and no pair is missed.

    Args:
        base: sorted (see :meth:`Rows.take`).
        queries: items only, sorted; may share rows with the base.
        similarity: the least cosine of a match.
        prefilter: see :class:`Prefilter`; ignored with ``want_max``, which needs every cosine.
        cap: neighbours to return for each query. One is enough to know that it has any; with eight, almost every
            query is decided without a second search (see ``near.first_come``).
        want_max: also return each item's highest cosine with any other row, of the base and the queries alike.
        images: of each row; their vectors, each of length 1 / sqrt(images), are one after another in the row's.
    """
    if prefilter is None or want_max:
        prefilter = Prefilter()
    threshold = similarity - TOLERANCE
    base_projected = prefilter.project(base.vectors)
    width = base_projected.shape[1] if base_projected.ndim == 2 else 0
    # Rounding of a single-precision sum of `width` products of numbers with squares that add up to at most 1
    # (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1), and of the projection.
    bound = threshold - (width + 8) * 2.0**-24 - 2e-6

    count = len(queries)
    found_base = np.zeros((count, cap), np.int64)
    found_similarity = np.zeros((count, cap), np.float64)
    found = np.zeros(count, np.int64)
    done = np.zeros(count, np.bool_)
    base_highest = np.full(len(base), -2.0, np.float32)
    query_highest = np.full(count, -2.0, np.float32)
    buffer = np.empty(TILE_ROWS * TILE_ROWS, np.float32)
    comparisons = 0

    for start, stop in _query_slices(queries.block):
        columns = np.arange(start, stop)
        projected = prefilter.project(queries.vectors[start:stop])
        low, high, one_block = _base_range(base, queries, start, stop)
        for first in range(low, high, TILE_ROWS):
            last = min(first + TILE_ROWS, high)
            shape = (last - first, len(columns))
            product = buffer[: shape[0] * shape[1]].reshape(shape)
            if want_max and images > 1:
                least_products(base.vectors[first:last], queries.vectors[start:stop], images, product)
            else:
                np.matmul(base_projected[first:last], projected.T, out=product)
            comparisons += product.size
            scan_matches(
                product,
                bound,
                threshold,
                images,
                first,
                base.vectors,
                base.block,
                base.is_reference,
                base.rank,
                columns,
                queries.vectors,
                queries.block,
                queries.rank,
                queries.cursor,
                found_base,
                found_similarity,
                found,
                done,
            )
            if want_max:
                itself = _same_items(base, queries, first, last, start, stop)
                scan_highest(
                    product,
                    one_block,
                    first,
                    base.block,
                    itself,
                    start,
                    queries.block,
                    base_highest,
                    query_highest,
                )
                continue
            # Queries that have their neighbours leave the product: in a cluster of frames of one video, soon all.
            active = ~done[columns]
            left = int(active.sum())
            if left == 0:
                break
            if left <= 0.8 * len(columns):
                columns = columns[active]
                projected = np.ascontiguousarray(projected[active])

    return _collect(
        base, queries, found_base, found_similarity, found, done, want_max, base_highest, query_highest, comparisons
    )


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


def _base_range(base: Rows, queries: Rows, start: int, stop: int) -> tuple[int, int, bool]:
    """The rows of the base that may match the queries of a slice, and whether slice and rows are of one block."""
    low = int(np.searchsorted(base.block, queries.block[start], "left"))
    high = int(np.searchsorted(base.block, queries.block[stop - 1], "right"))
    one_block = bool(queries.block[start] == queries.block[stop - 1])
    if one_block:
        items = low + int(np.count_nonzero(base.is_reference[low:high]))
        ranks = base.rank[items:high]
        high = items + int(np.searchsorted(ranks, queries.rank[stop - 1], "left"))
        if items == low:
            low += int(np.searchsorted(ranks, queries.cursor[start:stop].min(), "right"))
    return low, high, one_block


def _same_items(base: Rows, queries: Rows, first: int, last: int, start: int, stop: int) -> Int64:
    """(last - first,) int64: for each row of the base the column of the slice that is the same item, or -1."""
    order = np.argsort(queries.rank[start:stop], kind="stable")
    ranks = queries.rank[start:stop][order]
    place = np.minimum(np.searchsorted(ranks, base.rank[first:last]), len(ranks) - 1)
    column = order[place]
    same = (ranks[place] == base.rank[first:last]) & ~base.is_reference[first:last]
    same &= queries.block[start:stop][column] == base.block[first:last]
    return np.where(same, column, -1).astype(np.int64)


def _collect(
    base: Rows,
    queries: Rows,
    found_base: Int64,
    found_similarity: Float64,
    found: Int64,
    done: Bool,
    want_max: bool,
    base_highest: Float32,
    query_highest: Float32,
    comparisons: int,
) -> Matches:
    cap = found_base.shape[1]
    taken = np.arange(cap)[None, :] < found[:, None]
    query_row, place = np.nonzero(taken)
    base_row = found_base[taken]
    is_reference = base.is_reference[base_row]
    last = place == found[query_row] - 1
    more = last & (found[query_row] == cap) & done[query_row] & ~is_reference
    ranks, highest = np.zeros(0, np.int64), np.zeros(0, np.float32)
    if want_max:
        items = ~base.is_reference
        ranks = np.concatenate([queries.rank, base.rank[items]])
        highest = np.concatenate([query_highest, base_highest[items]])
        known = highest >= -1.5  # -2 stands for: compared with nothing
        ranks, highest = ranks[known], highest[known]
    return Matches(
        queries.rank[query_row],
        base.rank[base_row],
        is_reference,
        np.minimum(found_similarity[taken], 1.0),
        more,
        ranks,
        highest,
        comparisons,
    )
