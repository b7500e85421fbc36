"""``whash``: the coarsest Haar wavelets against their median."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.family import Bits, Kernel
from imgdedup_spark.kernels.hashes.grids import fast_side, grid
from imgdedup_spark.kernels.hashes.turns import turned
from imgdedup_spark.kernels.hashes.view_names import TURNS
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["whash"]
# The library takes the largest power of two that fits into the picture. Sums of a 256x256 grid find as many equal
# hashes as that does; from 64x64 the rounding of its cells loses 4% of them.
_GRID = 256


def whash(size: int) -> Kernel:
    """In fast decoding what the transform amounts to: sums over blocks of pixels (the coarsest Haar wavelets) against
    their median, in whole numbers, which leaves no rounding to decide between equal cells.

    In exact decoding the library itself: it transforms the picture at nearly full scale, in floating point, there and
    back, and the rounding errors of just that decide between equal cells (flat areas).
    """

    def measure(picture: Frame) -> npt.NDArray[Any]:
        if not picture.fast:
            import imagehash  # and with it SciPy and PyWavelets, which fast decoding can do without

            return imagehash.whash(picture.grey(), hash_size=size).hash
        cells = grid(picture, _GRID, _GRID, fast_side(size))
        return cells.reshape(size, _GRID // size, size, _GRID // size).sum(axis=(1, 3), dtype=np.int32)

    def bits(measures: npt.NDArray[Any]) -> Bits:
        if measures.dtype == bool:  # the library's
            return measures
        return measures > np.median(measures, axis=(1, 2), keepdims=True)

    def turned_bits(measures: npt.NDArray[Any], turns: Sequence[str]) -> Iterable[Bits]:
        return (bits(turned(measures, TURNS[name])) for name in turns)

    return Kernel(measure, bits, turned_bits)
