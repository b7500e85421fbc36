"""What all hashes have in common: measure one picture at a time, then turn a batch of measures into hexadecimal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.grids import grid
from imgdedup_spark.kernels.hashes.turns import turned
from imgdedup_spark.kernels.hashes.view_names import TURNS
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["Bits", "Kernel", "grid_hash", "steps", "to_hex"]
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
        turned_bits: (n, ...) measures → bits of the hashes of the mirrored or turned pictures, for each of some turns;
            None for hashes that cannot tell.
        turned_measure: what ``turned_bits`` takes, where that is more than ``measure`` has.
        of_whole: whether the whole picture's measure is that of all its views.
    """

    measure: Callable[[Frame], Any]
    bits: Callable[[npt.NDArray[Any]], Bits] | None = None
    turned_bits: Callable[[npt.NDArray[Any], Sequence[str]], Iterable[Bits]] | None = None
    turned_measure: Callable[[Frame], Any] | None = None
    of_whole: bool = False

    def hashes(self, measures: Sequence[Any]) -> list[str]:
        """The hashes of a batch, as lower-case hexadecimal digits."""
        if self.bits is None or not measures:
            return list(measures)
        return [text for part in steps(measures) for text in to_hex(self.bits(part).reshape(len(part), -1))]

    def turned_hashes(self, measures: Sequence[Any], turns: Sequence[str]) -> list[list[str]]:
        """For each of the turns (names of ``TURNS``) the hashes of a batch.

        Args:
            measures: made by ``turned_measure``, or by ``measure`` where there is none.
        """
        assert self.turned_bits is not None
        found: list[list[str]] = [[] for _ in turns]
        for part in steps(measures):
            for texts, bits in zip(found, self.turned_bits(part, turns), strict=True):
                texts += to_hex(bits.reshape(len(part), -1))
        return found


def steps(measures: Sequence[Any]) -> Iterable[npt.NDArray[Any]]:
    """Measures of one shape, as many together as pays."""
    step = max(1, _VALUES_A_STEP // measures[0].size) if measures else 1
    return (np.stack(measures[start : start + step]) for start in range(0, len(measures), step))


def grid_hash(width: int, height: int, bits: Callable[[npt.NDArray[np.uint16]], Bits]) -> Kernel:
    """A hash of one grid (see ``grids``); ``bits`` is given (n, height, width) uint16."""

    def turned_bits(grids: npt.NDArray[np.uint16], turns: Sequence[str]) -> Iterable[Bits]:
        return (bits(turned(grids, TURNS[name])) for name in turns)

    # One that is not square has another one's cells once it is turned.
    return Kernel(lambda picture: grid(picture, width, height), bits, turned_bits if width == height else None)


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
