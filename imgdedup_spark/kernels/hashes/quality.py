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

__all__ = ["FLOOR", "SIDE", "Grid", "qualities", "sample"]
#: Cells a side of the grid that quality is measured in.
SIDE = 32
#: (SIDE, SIDE) cells in 1/LEVEL of a grey level, as ``grids`` makes them, or what ``sample`` makes.
Grid: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
#: The lowest quality of a picture whose hash means something: a mean difference of five grey levels between
#: neighbouring cells. Of 100 solid, graded and nearly blank pictures all but three gradients are below it; of 300
#: photographs and 25 edits of each, none.
FLOOR = 50
_QUALITY_A_LEVEL = 10  # so that the floor is PDQ's
# Of a cell, across and down: all pixels would take five times as long, 4% of the time of decoding a small JPEG.
_POINTS = 4


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
    cells, levels = (grids, LEVEL) if grids.shape[1] == SIDE else (_means(grids), 1)
    cells = cells.astype(np.int32)
    along = np.abs(cells[:, :, 1:] - cells[:, :, :-1]).sum(axis=(1, 2))
    down = np.abs(cells[:, 1:] - cells[:, :-1]).sum(axis=(1, 2))
    pairs = 2 * SIDE * (SIDE - 1)
    return np.minimum(100, (along + down) * _QUALITY_A_LEVEL // (pairs * levels)).astype(np.int32)


def _means(points: npt.NDArray[np.uint8 | np.uint16]) -> npt.NDArray[np.uint16]:
    """(n, SIDE * _POINTS, SIDE * _POINTS) → (n, SIDE, SIDE)."""
    rows = points.reshape(-1, SIDE, _POINTS, SIDE * _POINTS).astype(np.uint16).sum(axis=2, dtype=np.uint16)
    cells = functools.reduce(np.add, (rows[:, :, first::_POINTS] for first in range(_POINTS)))
    return (cells + _POINTS * _POINTS // 2) // (_POINTS * _POINTS)
