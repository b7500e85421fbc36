"""``phash`` and ``phash_simple``: signs of low frequencies (discrete cosine transform).

The definition is that of the ``imagehash`` package. The transform is SciPy's over the whole batch: unlike a
matrix product it does the same sums as for a single picture, so that frequencies which cancel out (flat
pictures) are exactly zero here too, and bits do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fftpack

from imgdedup_spark.kernels.hashes.bits import to_hex
from imgdedup_spark.kernels.hashes.family import stacked
from imgdedup_spark.kernels.hashes.grids import grid
from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["PHash", "PHashSimple"]


_GRID_PER_BIT = 4  # imagehash's highfreq_factor: the lowest quarter of the grid's frequencies is used


class PHash:
    """Lowest NxN frequencies of a 4Nx4N grid against their median."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._grid = _GRID_PER_BIT * size

    def measure(self, picture: Picture) -> bytes:
        return grid(picture, self._grid, self._grid)

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        size = self._size
        result = []
        for grids in stacked(measured, self._grid, self._grid):
            rows = scipy.fftpack.dct(grids, axis=1)[:, :size]
            low = scipy.fftpack.dct(rows, axis=2)[:, :, :size].reshape(len(grids), size * size)
            result += to_hex(low > np.median(low, axis=1, keepdims=True))
        return result


class PHashSimple:
    """Frequencies 1 to N of each of the first N rows of a 4Nx4N grid against their mean."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._grid = _GRID_PER_BIT * size

    def measure(self, picture: Picture) -> bytes:
        return grid(picture, self._grid, self._grid)

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        size = self._size
        result = []
        for grids in stacked(measured, self._grid, self._grid):
            low = scipy.fftpack.dct(grids[:, :size], axis=2)[:, :, 1 : size + 1]
            # One mean() for each picture: the order of a sum, and so its last bit, depends on the array's
            # layout.
            means = np.array([picture.mean() for picture in low])
            result += to_hex((low > means[:, None, None]).reshape(len(grids), size * size))
        return result
