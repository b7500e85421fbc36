"""Vectors with what a search must know of them, and the arithmetic that decides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgdedup_spark.compiled import compiled as _compiled

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
# nnan and nsz let maxima use vector instructions; no sum is reordered (that would be `reassoc`).
compiled = partial(_compiled, fastmath=("nnan", "nsz"))


class Rows(NamedTuple):
    """Vectors with their places in the keep order, sorted by (block, references first, rank).

    Attributes:
        vectors: (n, d) float32, finite, each of length 1.
        block: (n,) int64; only rows of equal block are compared.
        is_reference: (n,) bool; references come before all items.
        rank: (n,) int64, smaller is earlier; items and references are numbered apart.
        cursor: (n,) int64; as a query, a row is compared with the earlier items of rank above its cursor.
        background: (n, images) float32; as a query, what is taken off a row's cosines, image by image (see
            ``background``); zeros where nothing is.
    """

    vectors: Float32
    block: Int64
    is_reference: Bool
    rank: Int64
    cursor: Int64
    background: Float32

    def take(self, index: NDArray[Any], *, sort: bool = False) -> Rows:
        """Some of the rows, in the order of ``index`` or sorted. Copies the vectors once."""
        if sort:
            index = index[np.lexsort((self.rank[index], ~self.is_reference[index], self.block[index]))]
        return Rows(*(column[index] for column in self))

    def queries(self) -> Rows:
        """The rows that search. No copy if they all do."""
        searches = self.cursor < NO_SEARCH
        return self if searches.all() else self.take(np.flatnonzero(searches))


@dataclass(frozen=True)
class Matches:
    """What one call of :func:`match` found: at most ``cap`` earliest neighbours a query, in order.

    Attributes:
        query, base: (m,) int64 ranks of the later and the earlier row of each pair.
        is_reference: (m,) bool; whether ``base`` is a reference.
        similarity: (m,) float64 cosine, less the query's background.
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
def least_cosine(a: Float32, b: Float32, background: Float32) -> float:
    """The least of the cosines of some pairs of vectors, which stand in ``a`` and ``b`` one after another.

    The whole of ``a`` has length 1, so that its parts have 1 / sqrt(images) each.

    Args:
        background: (images,) what is taken off each, unless ``a`` and ``b`` are equal, which have 1.
    """
    images = len(background)
    if background.any() and np.array_equal(a, b):
        return 1.0
    if images == 1:
        return dot64(a, b) - np.float64(background[0])
    dims = len(a) // images
    least = 2.0
    for i in range(images):
        part = slice(i * dims, (i + 1) * dims)
        least = min(least, images * dot64(a[part], b[part]) - np.float64(background[i]))
    return least
