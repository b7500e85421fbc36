"""``colorhash``: which share of the pixels is black, grey, or of which hue.

The definition is that of the ``imagehash`` package. All its numbers are counts of pixels, which Pillow's
masked histograms give without any array of the picture's size.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import ImageChops

from imgdedup_spark.kernels.hashes.family import Bits, Kernel
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["colorhash"]
_BITS_A_SHARE = 3
_DARK = 256 // 8  # luminance below it is black
_PALE = 256 // 3  # saturation below it is grey
_BRIGHT = 256 * 2 // 3  # below: faint; above: bright; the value itself counts as neither
_HUE_EDGES = (0, 43, 85, 128, 170, 213, 256)  # six equal parts of 0 to 255, whole numbers
_NOT_DARK = [255 if value >= _DARK else 0 for value in range(256)]
_FAINT = [255 if _PALE <= value < _BRIGHT else 0 for value in range(256)]
_VIVID = [255 if value > _BRIGHT else 0 for value in range(256)]


def colorhash() -> Kernel:
    """14 shares of three bits each: black, grey, six faint hues, six bright ones."""
    return Kernel(_shares, _share_bits)


def _share_bits(shares: npt.NDArray[np.uint8]) -> Bits:
    # The library's bits of a share are not its binary digits: the middle one is set from 2 upwards.
    return np.stack([shares >= 4, shares >= 2, shares % 2 == 1], axis=2)


def _shares(picture: Frame) -> npt.NDArray[np.uint8]:
    """(14,) uint8: the shares, each 0 to 7."""
    grey = picture.seen().convert("L")
    hue, saturation, _ = picture.rgb().convert("HSV").split()
    pixels = grey.width * grey.height

    not_dark = grey.point(_NOT_DARK)
    lit = not_dark.histogram()[255]
    pale = sum(saturation.histogram(not_dark)[:_PALE])
    colored = max(1, lit - pale)
    counts = []
    for saturated in (_FAINT, _VIVID):
        mask = ImageChops.darker(saturation.point(saturated), not_dark)
        hues = hue.histogram(mask)
        counts += [sum(hues[start:end]) for start, end in pairwise(_HUE_EDGES)]

    levels = 1 << _BITS_A_SHARE
    fractions = [(pixels - lit) / pixels * levels, pale / pixels * levels]
    fractions += [count * levels / colored for count in counts]
    return np.array([min(levels - 1, int(fraction)) for fraction in fractions], np.uint8)
