"""What all hashes have in common: measure one picture at a time, then turn a batch of measures into hexadecimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.grids import grid
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["Bits", "Kernel", "grid_hash", "to_hex"]
Bits = npt.NDArray[np.bool_]
# Measures are stacked and transformed in float64 this many values at a time (8 MB): enough to make NumPy's
# cost for each call vanish, little enough for caches and for a worker's memory.
_VALUES_A_STEP = 1 << 20


@dataclass(frozen=True)
class Kernel:
    """One hash of a run.

    Attributes:
        measure: all that the hash depends on, and all that is kept of a picture until its batch is hashed: a small
            array of one shape, or the hash itself as text where batching does not pay.
        bits: (n, ...) measures of n pictures → (n, ...) bits of their hashes, the most significant one first; None
            where measures are text.
    """

    measure: Callable[[Frame], Any]
    bits: Callable[[npt.NDArray[Any]], Bits] | None = None

    def hashes(self, measures: Sequence[Any]) -> list[str]:
        """The hashes of a batch, as lower-case hexadecimal digits."""
        if self.bits is None or not measures:
            return list(measures)
        step = max(1, _VALUES_A_STEP // measures[0].size)
        result = []
        for start in range(0, len(measures), step):
            bits = self.bits(np.stack(measures[start : start + step]))
            result += to_hex(bits.reshape(len(bits), -1))
        return result


def grid_hash(width: int, height: int, bits: Callable[[npt.NDArray[np.uint16]], Bits]) -> Kernel:
    """A hash of one grid (see ``grids``); ``bits`` is given (n, height, width) uint16."""
    return Kernel(lambda picture: grid(picture, width, height), bits)


def to_hex(bits: Bits) -> list[str]:
    """Hexadecimal digits of each row of ``bits``, as the ``imagehash`` package prints them.

    Args:
        bits: (n, b) bool, the most significant bit first.

    Returns:
        n strings of ceil(b / 4) digits; where b is no multiple of 4 the missing bits are zeros in front.
    """
    count, width = bits.shape
    packed = np.packbits(np.pad(bits, ((0, 0), (-width % 8, 0))), axis=1)
    line = packed.tobytes().hex()
    digits = -(-width // 4)
    stride = 2 * packed.shape[1]
    return [line[end - digits : end] for end in range(stride, stride * count + 1, stride)]
