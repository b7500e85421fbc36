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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

# Vectors normalised in single precision have lengths of 1 +- 1e-7, so that a vector's cosine with its own copy may
# come out as 0.9999999. A pair counts as a match from this much below the threshold.
TOLERANCE = 1e-6

# A row's cursor: where its search for earlier neighbours starts (neighbours of a rank above it), or no search at all.
FROM_START = np.iinfo(np.int64).min
NO_SEARCH = np.iinfo(np.int64).max

# A tile's product is 1,024 x 1,024 floats, 4 MiB: large enough for the full speed of a matrix product, small enough to
# be read from the cache by the scan that follows it.
TILE_ROWS = 1024

# Costs on one AVX-512 core, in nanoseconds, that choose the number of leading components: per pair and dimension of a
# product (125 GFLOP/s), and per candidate that is computed in full. Only their ratio matters, and only to speed.
PRODUCT_NS = 0.016
CANDIDATE_NS = 120.0


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles with Numba; kept on disk where a folder can be written, so that workers do not compile it again."""
    # nnan and nsz let maxima use vector instructions; no sum is reordered (that would be `reassoc`).
    options = {"nogil": True, "fastmath": {"nnan", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(**options)(function)


@dataclass(frozen=True)
class Rows:
    """Vectors with their places in the keep order, sorted by (block, references first, rank).

    Attributes:
        vectors: (n, d) float32, finite, each of length 1.
        block: (n,) int64; only rows of equal block are compared.
        is_reference: (n,) bool; references come before all items.
        rank: (n,) int64, smaller is earlier; items and references are numbered apart.
        cursor: (n,) int64; as a query, a row is compared with the earlier items of rank above its cursor.
    """

    vectors: Float32
    block: Int64
    is_reference: Bool
    rank: Int64
    cursor: Int64

    def __len__(self) -> int:
        return len(self.rank)

    def take(self, index: NDArray[Any], *, sort: bool = False) -> Rows:
        """Some of the rows, in the order of ``index`` or sorted. Copies the vectors once."""
        if sort:
            index = index[np.lexsort((self.rank[index], ~self.is_reference[index], self.block[index]))]
        return Rows(
            self.vectors[index], self.block[index], self.is_reference[index], self.rank[index], self.cursor[index]
        )

    def queries(self) -> Rows:
        """The rows that search. No copy if they all do."""
        searches = self.cursor < NO_SEARCH
        return self if searches.all() else self.take(np.flatnonzero(searches))


@dataclass(frozen=True)
class Prefilter:
    """The leading directions of the data, which bound a cosine from above. Changes the speed, never a result.

    Attributes:
        basis: (d, dims) float32 with orthonormal columns, or None for products of all d dimensions.
    """

    basis: Float32 | None = None

    def project(self, vectors: Float32) -> Float32:
        """(n, dims + 1) float32: the leading coordinates and the length of what they leave out."""
        if self.basis is None:
            return vectors
        leading = vectors @ self.basis
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        squares -= np.einsum("ij,ij->i", leading, leading, dtype=np.float64)
        # A square is wrong by some 1e-7 after single precision; 1e-6 more keeps the length an upper bound.
        rest = np.sqrt(np.maximum(squares, 0.0) + 1e-6)
        return np.concatenate([leading, rest[:, None].astype(np.float32)], axis=1)


@dataclass(frozen=True)
class Matches:
    """What one call of :func:`match` found: at most ``cap`` earliest neighbours a query, in order.

    Attributes:
        query, base: (m,) int64 ranks of the later and the earlier row of each pair.
        is_reference: (m,) bool; whether ``base`` is a reference.
        similarity: (m,) float64 cosine.
        more: (m,) bool; true on a query's last pair if the search stopped there and may have left out later ones.
        highest_rank, highest: with ``want_max``: each item's highest cosine with any other row of its block.
        comparisons: pairs that went through a product.
    """

    query: Int64
    base: Int64
    is_reference: Bool
    similarity: Float64
    more: Bool
    highest_rank: Int64
    highest: Float32
    comparisons: int


@compiled
def dot64(a: Float32, b: Float32) -> float:
    """The inner product of two float32 vectors in float64, in one fixed order of summation."""
    # Products of two float32 are exact in float64. Eight running sums let the CPU overlap the additions.
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = len(a) // 8 * 8
    for i in range(0, whole, 8):
        s0 += np.float64(a[i]) * np.float64(b[i])
        s1 += np.float64(a[i + 1]) * np.float64(b[i + 1])
        s2 += np.float64(a[i + 2]) * np.float64(b[i + 2])
        s3 += np.float64(a[i + 3]) * np.float64(b[i + 3])
        s4 += np.float64(a[i + 4]) * np.float64(b[i + 4])
        s5 += np.float64(a[i + 5]) * np.float64(b[i + 5])
        s6 += np.float64(a[i + 6]) * np.float64(b[i + 6])
        s7 += np.float64(a[i + 7]) * np.float64(b[i + 7])
    for i in range(whole, len(a)):
        s0 += np.float64(a[i]) * np.float64(b[i])
    return ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))


@compiled
def least_cosine(a: Float32, b: Float32, images: int) -> float:
    """The least of the cosines of ``images`` pairs of vectors, which stand in ``a`` and ``b`` one after another.

    The whole of ``a`` has length 1, so that its parts have 1 / sqrt(images) each.
    """
    if images == 1:
        return dot64(a, b)
    dims = len(a) // images
    least = 2.0
    for i in range(images):
        part = slice(i * dims, (i + 1) * dims)
        least = min(least, images * dot64(a[part], b[part]))
    return least


@compiled
def _scan_matches(
    bounds: Float32,  # (rows, columns): upper bounds of the cosines of a tile
    bound: float,
    threshold: float,
    images: int,
    first: int,  # the tile's first row in the base
    base_vectors: Float32,
    base_block: Int64,
    base_is_reference: Bool,
    base_rank: Int64,
    columns: Int64,  # (columns,): the tile's columns in the queries
    query_vectors: Float32,
    query_block: Int64,
    query_rank: Int64,
    query_cursor: Int64,
    found_base: Int64,  # (queries, cap): rows of the base
    found_similarity: Float64,  # (queries, cap)
    found: Int64,  # (queries,): how many of them
    done: Bool,  # (queries,): nothing more to find
) -> None:
    cap = found_base.shape[1]
    limit = np.float32(bound)
    for r in range(bounds.shape[0]):
        row = bounds[r]
        # Almost no row of a tile has a candidate: counting them first is one pass of vector instructions.
        candidates = 0
        for c in range(len(row)):
            candidates += row[c] >= limit
        if candidates == 0:
            continue
        b = first + r
        for c in range(len(row)):
            if row[c] < limit:
                continue
            q = columns[c]
            if done[q] or base_block[b] != query_block[q]:
                continue
            if not base_is_reference[b] and not (query_cursor[q] < base_rank[b] < query_rank[q]):
                continue
            similarity = least_cosine(base_vectors[b], query_vectors[q], images)
            if similarity < threshold:
                continue
            found_base[q, found[q]] = b
            found_similarity[q, found[q]] = similarity
            found[q] += 1
            # A reference is always kept, so that a query close to one needs no further neighbour.
            done[q] = found[q] == cap or base_is_reference[b]


@compiled
def _scan_highest(
    cosines: Float32,  # (rows, columns)
    one_block: bool,
    first: int,
    base_block: Int64,
    itself: Int64,  # (rows,): the column that is the same item, or -1
    start: int,  # the tile's first column in the queries
    query_block: Int64,
    base_highest: Float32,
    query_highest: Float32,
) -> None:
    for r in range(cosines.shape[0]):
        b = first + r
        row = cosines[r]
        if itself[r] >= 0:
            row[itself[r]] = np.float32(-2.0)
        if not one_block:
            for c in range(len(row)):
                if base_block[b] != query_block[start + c]:
                    row[c] = np.float32(-2.0)
        highest = base_highest[b]
        for c in range(len(row)):
            highest = max(highest, row[c])
            query_highest[start + c] = max(query_highest[start + c], row[c])
        base_highest[b] = highest


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
                _least_products(base.vectors[first:last], queries.vectors[start:stop], images, product)
            else:
                np.matmul(base_projected[first:last], projected.T, out=product)
            comparisons += product.size
            _scan_matches(
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
                _scan_highest(
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


def _least_products(a: Float32, b: Float32, images: int, out: Float32) -> None:
    """(len(a), len(b)): for each pair of rows the least cosine of their images at the same place."""
    dims = a.shape[1] // images
    for i in range(images):
        part = slice(i * dims, (i + 1) * dims)
        product = a[:, part] @ b[:, part].T
        np.minimum(out, product, out=out) if i else np.copyto(out, product)
    out *= images


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


def fit_prefilter(sample: Float32, similarity: float) -> Prefilter:
    """Chooses how many leading components to multiply, by what they cost and the candidates they leave.

    One half of the sample gives the directions, the other half the candidates, so that the choice is not flattered.

    Args:
        sample: (n, d) float32 vectors of length 1, in random order.
        similarity: the threshold that the bound is compared with.
    """
    d = sample.shape[1] if sample.ndim == 2 else 0
    half = len(sample) // 2
    if half < 64 or d < 32:
        return Prefilter()
    basis = leading_directions(sample[:half], min(256, d // 2))
    test = sample[half:][:1024]
    cosines = test @ test.T
    not_pairs = cosines < similarity - 1e-5
    not_pairs &= ~np.eye(len(test), dtype=bool)
    best, best_cost = Prefilter(), PRODUCT_NS * d
    dims = 16
    while dims <= basis.shape[1]:
        prefilter = Prefilter(np.ascontiguousarray(basis[:, :dims]))
        projected = prefilter.project(test)
        candidates = (projected @ projected.T >= similarity - 1e-5) & not_pairs
        cost = PRODUCT_NS * (dims + 1) + CANDIDATE_NS * float(candidates.mean())
        if cost < best_cost:
            best, best_cost = prefilter, cost
        dims += 16
    return best


def leading_directions(sample: Float32, dims: int) -> Float32:
    """(d, dims) float32 orthonormal columns: the directions of most energy, in falling order.

    Subspace iteration, four rounds from a fixed start: near enough for a bound, and it needs no d x d decomposition.
    Not centred, since inner products are about the origin.
    """
    data = sample.astype(np.float64)
    basis = np.random.default_rng(0).standard_normal((data.shape[1], dims))
    for _ in range(4):
        basis, _ = np.linalg.qr(data.T @ (data @ basis))
    leading = data @ basis
    _, turn = np.linalg.eigh(leading.T @ leading)
    return np.ascontiguousarray(basis @ turn[:, ::-1], dtype=np.float32)
