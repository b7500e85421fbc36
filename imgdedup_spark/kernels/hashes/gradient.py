"""``dhash``, ``dhash_vertical`` and ``double_gradient``: is a cell brighter than the one before it?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.bits import to_hex
from imgdedup_spark.kernels.hashes.family import stacked
from imgdedup_spark.kernels.hashes.grids import LEVEL, grid
from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["DHash", "DHashVertical", "DoubleGradient"]


class DHash:
    """Differences along rows of an (N+1)xN grid (width x height)."""

    def __init__(self, size: int) -> None:
        self._size = size

    def measure(self, picture: Picture) -> bytes:
        return grid(picture, self._size + 1, self._size)

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return [
            text
            for grids in stacked(measured, self._size + 1, self._size)
            for text in to_hex(_flat(_brighter(grids[:, :, 1:], grids[:, :, :-1])))
        ]


class DHashVertical:
    """Differences down the columns of an Nx(N+1) grid."""

    def __init__(self, size: int) -> None:
        self._size = size

    def measure(self, picture: Picture) -> bytes:
        return grid(picture, self._size, self._size + 1)

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return [
            text
            for grids in stacked(measured, self._size, self._size + 1)
            for text in to_hex(_flat(_brighter(grids[:, 1:, :], grids[:, :-1, :])))
        ]


class DoubleGradient:
    """The bits of ``dhash`` followed by those of ``dhash_vertical``."""

    def __init__(self, size: int) -> None:
        self._size = size

    def measure(self, picture: Picture) -> bytes:
        size = self._size
        return grid(picture, size + 1, size) + grid(picture, size, size + 1)

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        size = self._size
        result = []
        # Both grids have the same number of pixels: stacked as two rows, then reshaped apart.
        for pairs in stacked(measured, size * (size + 1), 2):
            along = pairs[:, 0].reshape(-1, size, size + 1)
            down = pairs[:, 1].reshape(-1, size + 1, size)
            bits = (_flat(_brighter(along[:, :, 1:], along[:, :, :-1])), _flat(_brighter(down[:, 1:], down[:, :-1])))
            result += to_hex(np.concatenate(bits, axis=1))
        return result


def _brighter(cells: npt.NDArray[np.uint16], others: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """By more than half a grey level: among whole levels that is any difference at all, and noise in what looks flat
    is less."""
    return cells > others + np.uint16(LEVEL // 2)


def _flat(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(n, rows, columns) → (n, rows · columns), row by row."""
    return bits.reshape(len(bits), -1)
