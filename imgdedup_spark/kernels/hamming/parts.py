"""The hashes that an item is compared by, as packed words: NumPy alone, and no compiler loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hamming.bands import Words

# A context enters the table as a digest of this many bytes: equal digests are equal contexts.
CONTEXT_BYTES = 16


@dataclass(frozen=True)
class Part:
    """One of the hashes that make up an item's code.

    Attributes:
        bits: 1 to 4096.
        threshold: two items match if every part differs in at most this many bits.
        reported: whether the part belongs to the main hash; the distance reported is the largest over those.
    """

    bits: int
    threshold: int
    reported: bool = True

    @property
    def bytes(self) -> int:
        """Bytes in the code."""
        return (self.bits + 7) // 8

    @property
    def words(self) -> int:
        """Words in the table."""
        return (self.bits + 63) // 64


def pack_codes(codes: npt.NDArray[np.uint8], parts: Sequence[Part]) -> list[Words]:
    """Splits codes into parts: for each part ``(n, part.words)`` uint64.

    Args:
        codes: ``(n, sum of part.bytes)`` uint8. Only which bits differ matters, so the bytes' order in a word does
            not.
    """
    packed = []
    start = 0
    for part in parts:
        padded = np.zeros((len(codes), 8 * part.words), dtype=np.uint8)
        padded[:, : part.bytes] = codes[:, start : start + part.bytes]
        packed.append(padded.view("<u8").astype(np.uint64, copy=False))
        start += part.bytes
    return packed
