"""``pdq``: Meta's 256-bit hash, computed by the ``pdqhash`` package."""

from __future__ import annotations

import numpy as np
import pdqhash

from imgdedup_spark.kernels.hashes.family import Bits, Kernel
from imgdedup_spark.kernels.hashes.grids import fast_side
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["pdq"]
_GRID = 64  # PDQ's own grid


def pdq() -> Kernel:
    """The package's hash of all upright RGB pixels, or in fast decoding of the luminance at the scale that PDQ needs.

    The former takes about 40 bytes of memory a pixel.
    """
    return Kernel(_measure, lambda bits: bits)


def _measure(picture: Frame) -> Bits:
    if not picture.fast:
        return _compute(np.asarray(picture.rgb()))
    grey = picture.grey(fast_side(_GRID))
    # PDQ averages over boxes first anyway; whole-number reduction does the same in a fraction of the time.
    factor = min(grey.size) // fast_side(_GRID)
    if factor > 1:
        grey = grey.reduce(factor)
    # The weights of PDQ's luminance add up to 1: three equal channels are the luminance itself.
    return _compute(np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))


def _compute(pixels: np.ndarray) -> Bits:
    """(256,) bits of the hash of (height, width, 3) uint8."""
    bits, _quality = pdqhash.compute(pixels)
    return bits.astype(bool)
