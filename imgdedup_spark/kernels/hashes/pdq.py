"""``pdq``: Meta's 256-bit hash, computed by the ``pdqhash`` package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pdqhash

from imgdedup_spark.kernels.hashes.bits import to_hex
from imgdedup_spark.kernels.hashes.grids import fast_side
from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["BITS", "Pdq", "PdqExact"]


BITS = 256


_GRID = 64  # PDQ's own grid


class PdqExact:
    """The package's hash of all upright RGB pixels. It needs about 40 bytes of memory a pixel."""

    def measure(self, picture: Picture) -> bytes:
        return _compute(np.asarray(picture.rgb()))

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return _finish(measured)


class Pdq:
    """The package's hash of the luminance, from the scale that a 64x64 grid needs."""

    def measure(self, picture: Picture) -> bytes:
        grey = picture.grey(fast_side(_GRID))
        # PDQ averages over boxes first anyway; whole-number reduction does the same in a fraction of the
        # time.
        factor = min(grey.size) // fast_side(_GRID)
        if factor > 1:
            grey = grey.reduce(factor)
        # The weights of PDQ's luminance add up to 1: three equal channels are the luminance itself.
        return _compute(np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return _finish(measured)


def _compute(pixels: np.ndarray) -> bytes:
    """Packed bits of the hash of (height, width, 3) uint8."""
    bits, _quality = pdqhash.compute(pixels)
    return np.packbits(bits.astype(bool)).tobytes()


def _finish(measured: Sequence[bytes]) -> list[str]:
    packed = np.frombuffer(b"".join(measured), dtype=np.uint8).reshape(len(measured), BITS // 8)
    return to_hex(np.unpackbits(packed, axis=1).astype(bool))
