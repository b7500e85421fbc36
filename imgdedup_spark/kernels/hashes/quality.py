"""How much a picture has for a hash to hold on to; ``flat`` has what stands in its place where that is too little.

A flat picture (one color, a faint gradient, a sheet with hardly anything on it) has a hash as any other, of rounding
and noise: by 64-bit pHashes one pair of flat pictures in six is equal.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgdedup_spark.kernels.hashes.family import steps
from imgdedup_spark.kernels.hashes.grids import LEVEL
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["FLOOR", "SIDE", "Grid", "grid_at_hand", "qualities", "sample"]
#: Cells a side of the grid that quality is measured in.
SIDE = 32
#: (SIDE, SIDE) cells in 1/LEVEL of a grey level, as ``grids`` makes them, or twice as many a side, or what ``sample``
#: makes.
Grid: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
#: The lowest quality of a picture whose hash means something: a mean difference of five grey levels between
#: neighbouring cells. Of 100 solid, graded and nearly blank pictures all but three gradients are below it; of 300
#: photographs and 25 edits of each, none.
FLOOR = 50
_QUALITY_A_LEVEL = 10  # so that the floor is PDQ's
# Of a cell, across and down: all pixels would take five times as long, 4% of the time of decoding a small JPEG.
_POINTS = 4


def grid_at_hand(frame: Frame) -> Grid:
    """What quality can be measured in: a grid that a hash has asked for, else points of the luminance."""
    for side in (SIDE, 2 * SIDE):
        if (side, side, None) in frame.grids:
            return frame.grids[side, side, None]
    return sample(frame)


def sample(frame: Frame) -> Grid:
    """Points of the luminance, of whatever has been decoded anyway."""
    picture = frame.at_hand()
    if picture.mode == "L":
        return frame.levels(picture).take(_places(picture.height), axis=0).take(_places(picture.width), axis=1)
    if picture.mode in ("1", "P", "PA"):  # whose points are names of colors
        picture = picture.convert("L")
    return np.asarray(picture.resize((SIDE * _POINTS, SIDE * _POINTS), Image.Resampling.NEAREST).convert("L"))


@functools.lru_cache(maxsize=4096)
def _places(length: int) -> npt.NDArray[np.intp]:
    """(SIDE * _POINTS,) where a side's points lie, as Pillow's nearest neighbours do."""
    points = SIDE * _POINTS
    return (2 * np.arange(points) + 1) * length // (2 * points)


def qualities(grids: Sequence[Grid]) -> npt.NDArray[np.int32]:
    """(n,) from 0 to 100: ten times the mean difference between neighbouring cells, in grey levels.

    Args:
        grids: all of one kind.
    """
    return np.concatenate([_qualities(part) for part in steps(grids)])


def _qualities(grids: npt.NDArray[np.uint8 | np.uint16]) -> npt.NDArray[np.int32]:
    levels = 1 if grids.shape[1] == SIDE * _POINTS else LEVEL
    cells = _means(grids, grids.shape[1] // SIDE).astype(np.int32)
    along = np.abs(cells[:, :, 1:] - cells[:, :, :-1]).sum(axis=(1, 2))
    down = np.abs(cells[:, 1:] - cells[:, :-1]).sum(axis=(1, 2))
    pairs = 2 * SIDE * (SIDE - 1)
    return np.minimum(100, (along + down) * _QUALITY_A_LEVEL // (pairs * levels)).astype(np.int32)


def _means(grids: npt.NDArray[np.uint8 | np.uint16], times: int) -> npt.NDArray[np.uint8 | np.uint16 | np.uint32]:
    """(n, SIDE * times, SIDE * times) → (n, SIDE, SIDE)."""
    if times == 1:
        return grids
    wide = np.uint16 if grids.dtype == np.uint8 else np.uint32
    rows = grids.reshape(-1, SIDE, times, SIDE * times).astype(wide).sum(axis=2, dtype=wide)
    cells = functools.reduce(np.add, (rows[:, :, first::times] for first in range(times)))
    return (cells + times * times // 2) // (times * times)
