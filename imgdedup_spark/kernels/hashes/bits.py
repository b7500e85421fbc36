"""Bits → hexadecimal digits, as the ``imagehash`` package prints them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["to_hex"]


def to_hex(bits: npt.NDArray[np.bool_]) -> list[str]:
    """Hexadecimal digits of each row of ``bits``.

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
