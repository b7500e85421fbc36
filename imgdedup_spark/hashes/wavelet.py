"""``whash``: the coarsest Haar wavelets against their median."""

from __future__ import annotations

from collections.abc import Sequence

import imagehash
import numpy as np

from imgdedup_spark.hashes.bits import to_hex
from imgdedup_spark.hashes.kernels import stacked
from imgdedup_spark.images import Picture

__all__ = ["WHash", "WHashExact"]

_CELLS_PER_BIT = 8


class WHashExact:
    """The library itself: it transforms the picture at nearly full scale, in floating point, there and
    back, and the rounding errors of just that decide between equal cells (flat areas).
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def measure(self, picture: Picture) -> bytes:
        return str(imagehash.whash(picture.grey(), hash_size=self._size)).encode()

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return [text.decode() for text in measured]


class WHash:
    """What the transform amounts to: sums over blocks of pixels (the coarsest Haar wavelets) against their
    median.

    Taken from an 8Nx8N grid in whole numbers, which leaves no rounding to decide between equal cells.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._grid = _CELLS_PER_BIT * size

    def measure(self, picture: Picture) -> bytes:
        return picture.grid(self._grid, self._grid, side=4 * self._grid).tobytes()

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        size, cells = self._size, _CELLS_PER_BIT
        result = []
        for grids in stacked(measured, self._grid, self._grid):
            blocks = grids.reshape(-1, size, cells, size, cells).sum(axis=(2, 4), dtype=np.int64)
            flat = blocks.reshape(len(grids), size * size)
            result += to_hex(flat > np.median(flat, axis=1, keepdims=True))
        return result
