"""``pdq``: Meta's 256-bit hash, computed by the ``pdqhash`` package."""

from __future__ import annotations

import numpy as np
import pdqhash

from imgdedup_spark.kernels.hashes.family import Bits, Kernel
from imgdedup_spark.kernels.hashes.grids import fast_side
from imgdedup_spark.kernels.pictures.frames import Frame
from imgdedup_spark.kernels.pictures.values import grey_levels

__all__ = ["pdq"]
_GRID = 64  # PDQ's own grid
#: Which of the package's hashes of turned pictures is which. They are PDQ's own, of signs and transposes; some 14 of
#: 256 bits are others in the hash of turned pixels, whose grid PDQ samples a little differently.
_DIHEDRAL = {
    **{"rotate_90": 3, "rotate_180": 2, "rotate_270": 1, "flip": 5},
    **{"flip_90": 7, "flip_180": 4, "flip_270": 6},
}


def pdq() -> Kernel:
    """The package's hash of all upright RGB pixels, or in fast decoding of the luminance at the scale that PDQ needs.

    The former takes about 40 bytes of memory a pixel.
    """
    return Kernel(
        lambda picture: _compute(_pixels(picture)),
        lambda bits: bits,
        lambda bits, turns: (bits[:, _DIHEDRAL[name]] for name in turns),
        lambda picture: np.stack(pdqhash.compute_dihedral(_pixels(picture))[0]).astype(bool),
    )


def _pixels(picture: Frame) -> np.ndarray:
    """(height, width, 3) uint8."""
    if not picture.fast:
        return np.asarray(picture.rgb())
    grey = picture.grey(fast_side(_GRID))
    # PDQ averages over boxes first anyway; whole-number reduction does the same in a fraction of the time.
    factor = min(grey.size) // fast_side(_GRID)
    if factor > 1:
        grey = grey.reduce(factor)
    # The weights of PDQ's luminance add up to 1: three equal channels are the luminance itself.
    return np.repeat(grey_levels(grey)[:, :, None], 3, axis=2)


def _compute(pixels: np.ndarray) -> Bits:
    """(256,) bits of the hash of (height, width, 3) uint8."""
    bits, _quality = pdqhash.compute(pixels)
    return bits.astype(bool)
