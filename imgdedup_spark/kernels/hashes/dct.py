"""``phash`` and ``phash_simple``: signs of low frequencies (discrete cosine transform) of a 4Nx4N grid.

The definition is that of the ``imagehash`` package. The transform is SciPy's over the whole batch: unlike a
matrix product it does the same sums as for a single picture, so that frequencies which cancel out (flat
pictures) are exactly zero here too, and bits do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import scipy.fftpack

from imgdedup_spark.kernels.hashes.family import Bits, Kernel, grid_hash
from imgdedup_spark.kernels.hashes.grids import grid
from imgdedup_spark.kernels.hashes.turns import turned_frequencies
from imgdedup_spark.kernels.hashes.view_names import TURNS

__all__ = ["phash", "phash_simple"]
_GRID_PER_BIT = 4  # imagehash's highfreq_factor: the lowest quarter of the grid's frequencies is used


def phash(size: int) -> Kernel:
    """The lowest NxN frequencies against their median."""

    def frequencies(grids: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        return scipy.fftpack.dct(scipy.fftpack.dct(grids, axis=1)[:, :size], axis=2)[:, :, :size]

    def above(low: npt.NDArray[np.float64]) -> Bits:
        flat = low.reshape(len(low), size * size)
        return flat > np.median(flat, axis=1, keepdims=True)

    def turned_bits(grids: npt.NDArray[np.uint16], turns: Sequence[str]) -> Iterable[Bits]:
        low = frequencies(grids)
        return (above(turned_frequencies(low, TURNS[name])) for name in turns)

    side = _GRID_PER_BIT * size
    return Kernel(lambda picture: grid(picture, side, side), lambda grids: above(frequencies(grids)), turned_bits)


def phash_simple(size: int) -> Kernel:
    """Frequencies 1 to N of each of the first N rows against their mean."""

    def bits(grids: npt.NDArray[np.uint16]) -> Bits:
        low = scipy.fftpack.dct(grids[:, :size], axis=2)[:, :, 1 : size + 1]
        # One mean() for each picture: the order of a sum, and so its last bit, depends on the array's layout.
        return low > np.array([picture.mean() for picture in low])[:, None, None]

    return grid_hash(_GRID_PER_BIT * size, _GRID_PER_BIT * size, bits)
