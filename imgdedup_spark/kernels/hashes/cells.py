"""``ahash``, ``dhash``, ``dhash_vertical`` and ``double_gradient``: comparisons of brightness between cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.family import Bits, Kernel, grid_hash
from imgdedup_spark.kernels.hashes.grids import FEW_CELLS, FINE, LEVEL, coarse, grid
from imgdedup_spark.kernels.hashes.turns import turned
from imgdedup_spark.kernels.hashes.view_names import TURNS
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["ahash", "dhash", "dhash_vertical", "double_gradient"]
Grids = npt.NDArray[np.uint16]  # (n, height, width)


def ahash(size: int) -> Kernel:
    """Is a cell of an NxN grid brighter than their mean?"""
    # The mean of at most 64x64 such cells is a sum of whole numbers, exact in float64 in whatever order.
    return grid_hash(size, size, lambda grids: grids > grids.mean(axis=(1, 2), keepdims=True))


def dhash(size: int) -> Kernel:
    """Differences along rows of an (N+1)xN grid (width x height)."""
    return _gradient(size, lambda wide, tall: _along(wide), grid_hash(size + 1, size, _along))


def dhash_vertical(size: int) -> Kernel:
    """Differences down the columns of an Nx(N+1) grid."""
    return _gradient(size, lambda wide, tall: _down(tall), grid_hash(size, size + 1, _down))


def double_gradient(size: int) -> Kernel:
    """The bits of ``dhash`` followed by those of ``dhash_vertical``; in fast decoding those of ``coarse`` grids, which
    for runs that hash the finer ones as well cost next to nothing."""

    def bits(wide: Grids, tall: Grids) -> Bits:
        return np.concatenate([_along(wide).reshape(len(wide), -1), _down(tall).reshape(len(tall), -1)], axis=1)

    return _gradient(size, bits, fine=size < FEW_CELLS)


def _gradient(
    size: int, bits: Callable[[Grids, Grids], Bits], plain: Kernel | None = None, fine: bool = False
) -> Kernel:
    """A hash of two grids, (N+1)xN and Nx(N+1), each of which is the other's once it is turned by 90 degrees.

    Args:
        plain: the hash of a picture that is not turned, where that needs one of them alone.
        fine: whether both are made of a finer one, of pictures that are decoded fast.
    """

    def measure(picture: Frame) -> Grids:
        if fine and picture.fast:
            return grid(picture, FINE, FINE)
        # Both have the same number of cells: kept as two rows.
        return np.stack([grid(picture, size + 1, size).ravel(), grid(picture, size, size + 1).ravel()])

    def apart(measures: Grids) -> tuple[Grids, Grids]:
        if measures.shape[1] == FINE:
            return coarse(measures, size + 1, size), coarse(measures, size, size + 1)
        return measures[:, 0].reshape(-1, size, size + 1), measures[:, 1].reshape(-1, size + 1, size)

    def turned_bits(measures: Grids, turns: Sequence[str]) -> Iterable[Bits]:
        wide, tall = apart(measures)
        for turn in map(TURNS.__getitem__, turns):
            first, second = (tall, wide) if turn.transposed else (wide, tall)
            yield bits(turned(first, turn), turned(second, turn))

    if plain is not None:
        return replace(plain, turned_bits=turned_bits, turned_measure=measure)
    return Kernel(measure, lambda measures: bits(*apart(measures)), turned_bits)


def _along(grids: Grids) -> Bits:
    return _brighter(grids[:, :, 1:], grids[:, :, :-1])


def _down(grids: Grids) -> Bits:
    return _brighter(grids[:, 1:], grids[:, :-1])


def _brighter(cells: Grids, others: Grids) -> Bits:
    """By more than half a grey level: among whole levels that is any difference at all, and noise in what looks flat
    is less."""
    return cells > others + np.uint16(LEVEL // 2)
