"""The closest other row of each query, whatever the threshold. Compares all: for some thousand queries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.hamming.compare import popcount

_FAR = np.int32(1 << 30)


@compiled
def closest(
    words: npt.NDArray[np.uint64], keys: npt.NDArray[np.int64], queries: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The row nearest to each query, the first of equals, and its distance; -1 where no other has its key.

    Args:
        words: ``(n, images, width)`` hashes; a distance is the largest of the images', in bits.
        keys: ``(n,)`` rows are compared if theirs are equal.
        queries: ``(m,)`` row numbers.
    """
    partner = np.full(queries.size, -1, dtype=np.int64)
    distance = np.full(queries.size, _FAR, dtype=np.int32)
    for q in range(queries.size):
        row = queries[q]
        for other in range(words.shape[0]):
            if other == row or keys[other] != keys[row]:
                continue
            largest = 0
            for image in range(words.shape[1]):
                bits = 0
                for w in range(words.shape[2]):
                    bits += popcount(words[row, image, w] ^ words[other, image, w])
                largest = max(largest, bits)
                if largest >= distance[q]:
                    break
            if largest < distance[q]:
                distance[q], partner[q] = largest, other
    return partner, distance
