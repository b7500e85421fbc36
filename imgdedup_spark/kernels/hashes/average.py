"""``ahash``: is a cell brighter than the mean?"""

from __future__ import annotations

from collections.abc import Sequence

from imgdedup_spark.kernels.hashes.bits import to_hex
from imgdedup_spark.kernels.hashes.family import stacked
from imgdedup_spark.kernels.hashes.grids import grid
from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["AHash"]


class AHash:
    """Cells of an NxN grid against their mean."""

    def __init__(self, size: int) -> None:
        self._size = size

    def measure(self, picture: Picture) -> bytes:
        return grid(picture, self._size, self._size)

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        # The mean of at most 64x64 such cells is a sum of whole numbers, exact in float64 in whatever order.
        return [
            text
            for grids in stacked(measured, self._size * self._size, 1)
            for text in to_hex(grids[:, 0] > grids[:, 0].mean(axis=1, keepdims=True))
        ]
