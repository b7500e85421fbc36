"""Luminance → the small grid of cells that a hash looks at.

Exact decoding uses Pillow's Lanczos filter as the ``imagehash`` package does, cells rounded to whole grey levels. Fast
decoding uses the same filter as a matrix product, five times faster than Pillow's loop, and keeps a cell's fraction:
in rounding, many hashes of an edited picture part from the original's. On photographs that finds 5% more of the known
edits by equal 64-bit pHashes than exact decoding does, and 20% more by dHashes.

The products are of whole numbers and short enough for the floating point they are done in, hence without any rounding:
the result does not depend on the order of the sums, and so on neither the CPU nor the BLAS library.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["FEW_CELLS", "FINE", "LEVEL", "coarse", "fast_side", "grid"]
#: Cells are whole numbers of 1/LEVEL of a grey level, and fit 16 bits.
LEVEL = 128
# Fast decoding may scale a picture down to this many times the grid, but never below ...
_OVERSAMPLING = 8
# ... this many pixels on the shorter side. Recall of equal hashes is above exact decoding's from 256 on, and higher the
# less is scaled; beyond 512 it is the resizing that takes longer. And with one limit for all hashes of up to 64x64
# cells, one decode serves them all.
_SMALLEST_SIDE = 512
# Filter weights are whole numbers of this many bits: the sum of their sizes (1.4 times their sum at most)
# times 255 stays below 2**24, up to which float32 is exact.
_WEIGHT_BITS = 15
_LOBES = 3  # of the Lanczos window, as in Pillow
# Cells that share one product. A cell needs only some of the pixels, so one product for all cells would be
# mostly zeros (which does not matter where pixels are few); one for each cell would be mostly calls.
_CELLS_A_BLOCK = 8
# Multiplications in one product. More, and OpenBLAS shares them out among threads, which takes ten times as long as
# doing them: cores are busy with other pictures. A step's float32 pixels also fit a core's cache.
_PRODUCTS_A_STEP = 1 << 18
#: Cells a side of a grid that others of so few can be made of.
FINE, FEW_CELLS = 64, 9
# Longer sides are shortened by whole numbers first; only pictures hundreds of times as long as wide get here.
_LONGEST_SIDE = 1 << 14
_Kind = Literal["float32", "float64"]


class _Block(NamedTuple):
    """Neighbouring cells and the pixels that they depend on.

    Attributes:
        cells: slice of the cells.
        pixels: slice of the pixels.
        weights: (pixels, cells) whole numbers, as floating point.
    """

    cells: slice
    pixels: slice
    weights: npt.NDArray[np.floating]


def fast_side(cells: int) -> int:
    """Shortest side in pixels that fast decoding may leave for a grid of ``cells`` x ``cells``.

    Powers of two, because the JPEG decoder scales by them: more classes would only mean more decodes.
    """
    return max(_SMALLEST_SIDE, 1 << (_OVERSAMPLING * cells - 1).bit_length())


def grid(picture: Frame, width: int, height: int, side: int | None = None) -> npt.NDArray[np.uint16]:
    """Upright luminance of a picture, resized to (height, width) cells in 1/``LEVEL``.

    ``side`` is the shortest side that fast decoding may leave, where :func:`fast_side` of the grid says too much.
    A picture keeps its grids: hashes have some in common.
    """
    key = width, height, side
    if key not in picture.grids:
        picture.grids[key] = _made(picture, width, height, side)
    return picture.grids[key]


def coarse(fine: npt.NDArray[np.uint16], width: int, height: int) -> npt.NDArray[np.uint16]:
    """(n, FINE, FINE) cells of n pictures → (n, height, width), of at most ``FEW_CELLS`` a side: a whole batch at once,
    and for pictures of some 24 pixels a side and more with hardly a difference to their own."""
    rows = _shortened(fine.reshape(-1, FINE) / LEVEL, width, "float64").reshape(-1, FINE, width)
    lines = np.ascontiguousarray(rows.transpose(0, 2, 1)).reshape(-1, FINE)
    cells = _shortened(lines, height, "float64").reshape(-1, width, height)
    return np.rint(cells.transpose(0, 2, 1) * LEVEL).astype(np.uint16)


def _made(picture: Frame, width: int, height: int, side: int | None) -> npt.NDArray[np.uint16]:
    if not picture.fast:
        cells = picture.grey().resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(cells).astype(np.uint16) * LEVEL
    grey = picture.grey(side or fast_side(max(width, height)))
    if max(grey.size) > _LONGEST_SIDE:
        across, down = (-(-side // _LONGEST_SIDE) for side in grey.size)
        grey = grey.reduce((across, down))
    return _resized(picture.levels(grey), width, height)


def _resized(pixels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint16]:
    """(rows, columns) → (height, width), in 1/``LEVEL``: along the rows first, and no value out of range in between,
    as Pillow does it."""
    rows = _shortened(pixels, width, "float32")
    # What comes out of the first pass has 24 bits, and so the second one takes more.
    cells = _lowered(rows.astype(np.float64), height)
    cells *= LEVEL
    return np.rint(cells, out=cells).astype(np.uint16)


def _shortened(lines: npt.NDArray, cells: int, kind: _Kind) -> npt.NDArray:
    """(n, pixels) → (n, cells), from 0 to 255 before and after."""
    step, blocks = _filter(lines.shape[1], cells, kind)
    result = np.empty((len(lines), cells), kind)
    for start in range(0, len(lines), step):
        part = lines[start : start + step].astype(kind, copy=False)
        for block in blocks:
            np.matmul(part[:, block.pixels], block.weights, out=result[start : start + step, block.cells])
    result *= 1 / (1 << _WEIGHT_BITS)
    return np.clip(result, 0, 255, out=result)


def _lowered(rows: npt.NDArray[np.float64], cells: int) -> npt.NDArray[np.float64]:
    """(pixels, n) → (cells, n), from 0 to 255 before and after: as ``_shortened``, with nothing turned on its side."""
    step, blocks = _filter(len(rows), cells, "float64")
    result = np.empty((cells, rows.shape[1]))
    for start in range(0, rows.shape[1], step):
        part = rows[:, start : start + step]
        for block in blocks:
            np.matmul(block.weights.T, part[block.pixels], out=result[block.cells, start : start + step])
    result *= 1 / (1 << _WEIGHT_BITS)
    return np.clip(result, 0, 255, out=result)


@lru_cache(maxsize=512)  # at 22 kB for 500 pixels and 94 kB for 2,000; data sets of many sizes ask for hundreds
def _filter(pixels: int, cells: int, kind: _Kind) -> tuple[int, tuple[_Block, ...]]:
    """The Lanczos filter that takes ``pixels`` to ``cells``, and how many lines it takes in one step."""
    scale = pixels / cells  # pixels a cell
    stretch = max(1.0, scale)  # enlarging does not narrow the filter
    centers = (np.arange(cells) + 0.5) * scale
    first = np.maximum(0, np.floor(centers - _LOBES * stretch + 0.5)).astype(int)
    last = np.minimum(pixels, np.floor(centers + _LOBES * stretch + 0.5)).astype(int)

    # (cells, taps): row by row the pixels that a cell depends on, and how much.
    places = first[:, None] + np.arange((last - first).max())
    weights = _lanczos((places + 0.5 - centers[:, None]) / stretch)
    weights[places >= last[:, None]] = 0
    # Running totals are rounded, not the weights: what one weight loses the next one gains, and neighbouring pixels
    # are much alike. That halves the cells which differ from Pillow's, and the total is always whole.
    totals = np.cumsum(weights, axis=1)
    totals *= (1 << _WEIGHT_BITS) / totals[:, -1:]
    np.rint(totals, out=totals)
    totals[:, 1:] -= totals[:, :-1].copy()

    result = []
    size = cells if pixels <= FINE else _CELLS_A_BLOCK
    for start in range(0, cells, size):
        block = slice(start, min(start + size, cells))
        low, high = first[block.start], last[block.stop - 1]
        matrix = np.zeros((high - low, block.stop - block.start), kind)
        for column, cell in enumerate(range(block.start, block.stop)):
            taps = last[cell] - first[cell]
            matrix[first[cell] - low : last[cell] - low, column] = totals[cell, :taps]
        result.append(_Block(block, slice(low, high), matrix))
    step = max(1, _PRODUCTS_A_STEP // max(block.weights.size for block in result))
    return step, tuple(result)


def _lanczos(away: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """sinc(x) sinc(x / 3) inside its three lobes. One sine for both: sin 3t = 3 sin t - 4 sin**3 t."""
    third = np.sin(away * (np.pi / _LOBES))
    away = np.where(away == 0, 1, away)
    squares = third * third
    weights = squares * (3 - 4 * squares) * (_LOBES / np.pi**2) / (away * away)
    weights[third == 0] = 1  # the very middle; the lobes' ends lie outside
    return weights
