"""``whash``: the coarsest Haar wavelets against their median."""

from __future__ import annotations

from collections.abc import Sequence

import imagehash
import numpy as np

from imgdedup_spark.kernels.hashes.bits import to_hex
from imgdedup_spark.kernels.hashes.grids import fast_side, grid
from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["WHash", "WHashExact"]


# The library takes the largest power of two that fits into the picture. Sums of a 256x256 grid find as many equal
# hashes as that does; from 64x64 the rounding of its cells loses 4% of them.
_GRID = 256


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
    """What the transform amounts to: sums over blocks of pixels (the coarsest Haar wavelets) against their median.

    In whole numbers, which leaves no rounding to decide between equal cells.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def measure(self, picture: Picture) -> bytes:
        size, pixels = self._size, _GRID // self._size
        cells = np.frombuffer(grid(picture, _GRID, _GRID, fast_side(size)), np.uint16)
        return cells.reshape(size, pixels, size, pixels).sum(axis=(1, 3), dtype=np.int32).tobytes()

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        sums = np.frombuffer(b"".join(measured), np.int32).reshape(len(measured), self._size**2)
        return to_hex(sums > np.median(sums, axis=1, keepdims=True))
