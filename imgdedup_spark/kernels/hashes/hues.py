"""``color``: of which hues a picture's color is, whatever its brightness and however much of it has a color.

It tells the red car of a template from the blue one, beside a hash of the luminance. A picture and its copy in grey are
16 bits apart, whatever it shows; two pictures of opposite or neighbouring main hues 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgdedup_spark.kernels.hashes.family import Bits, Kernel
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["BITS", "color"]
# Cells a side, whose mean colors count.
_CELLS = 16
# Hues, 60 degrees apart, the first one red's; each cell's color is shared out among the two that it lies between.
_HUES = 6
_RED = np.float32(np.arctan2(127.5, -43.0))  # of the two color differences, Cr and Cb
# Bits of a hue: as many are set as it has sixteenths of all color.
_STEPS = 16
#: Of the hash.
BITS = _HUES * _STEPS
# A mean color difference that makes all bits count: less, of nearly grey pictures, counts for less.
_COLORED = 6.0


def color() -> Kernel:
    """Six hues' shares of the color, in sixteenths, each as so many bits: their distance is what changed its hue."""
    # The shares hardly change where a part of the picture is looked at, and not at all where it is turned.
    return Kernel(_shares, _bits, _turned_bits, of_whole=True)


def _shares(frame: Frame) -> npt.NDArray[np.float32]:
    """(6,) float32, of sum 1 or less."""
    cells = frame.colors(_CELLS).resize((_CELLS, _CELLS), Image.Resampling.BOX).convert("YCbCr")
    blue, red = (np.asarray(band, np.float32).ravel() - 128 for band in cells.split()[1:])
    strength = np.hypot(blue, red)
    place = ((np.arctan2(red, blue) - _RED) / (2 * np.pi) * _HUES) % _HUES
    below = np.floor(place)
    shares = np.zeros(_HUES, np.float32)
    for hue, part in ((below, 1 - place + below), (below + 1, place - below)):
        np.add.at(shares, hue.astype(np.int64) % _HUES, strength * part)
    return shares / max(shares.sum(), _COLORED * _CELLS * _CELLS)


def _bits(shares: npt.NDArray[np.float32]) -> Bits:
    return np.rint(shares * _STEPS)[:, :, None] > np.arange(_STEPS)


def _turned_bits(shares: npt.NDArray[np.float32], turns: Sequence[str]) -> Iterable[Bits]:
    return (_bits(shares) for _ in turns)
