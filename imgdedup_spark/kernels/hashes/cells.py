"""``ahash``, ``dhash``, ``dhash_vertical`` and ``double_gradient``: comparisons of brightness between cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.family import Bits, Kernel, grid_hash
from imgdedup_spark.kernels.hashes.grids import LEVEL, grid

__all__ = ["ahash", "dhash", "dhash_vertical", "double_gradient"]
Grids = npt.NDArray[np.uint16]  # (n, height, width)


def ahash(size: int) -> Kernel:
    """Is a cell of an NxN grid brighter than their mean?"""
    # The mean of at most 64x64 such cells is a sum of whole numbers, exact in float64 in whatever order.
    return grid_hash(size, size, lambda grids: grids > grids.mean(axis=(1, 2), keepdims=True))


def dhash(size: int) -> Kernel:
    """Differences along rows of an (N+1)xN grid (width x height)."""
    return grid_hash(size + 1, size, _along)


def dhash_vertical(size: int) -> Kernel:
    """Differences down the columns of an Nx(N+1) grid."""
    return grid_hash(size, size + 1, _down)


def double_gradient(size: int) -> Kernel:
    """The bits of ``dhash`` followed by those of ``dhash_vertical``."""

    def bits(pairs: Grids) -> Bits:
        along, down = pairs[:, 0].reshape(-1, size, size + 1), pairs[:, 1].reshape(-1, size + 1, size)
        return np.stack([_along(along).reshape(len(pairs), -1), _down(down).reshape(len(pairs), -1)], axis=1)

    # Both grids have the same number of cells: kept as two rows, then reshaped apart.
    return Kernel(
        lambda picture: np.stack([grid(picture, size + 1, size).ravel(), grid(picture, size, size + 1).ravel()]), bits
    )


def _along(grids: Grids) -> Bits:
    return _brighter(grids[:, :, 1:], grids[:, :, :-1])


def _down(grids: Grids) -> Bits:
    return _brighter(grids[:, 1:], grids[:, :-1])


def _brighter(cells: Grids, others: Grids) -> Bits:
    """By more than half a grey level: among whole levels that is any difference at all, and noise in what looks flat
    is less."""
    return cells > others + np.uint16(LEVEL // 2)
