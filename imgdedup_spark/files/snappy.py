"""Snappy's raw format as a stream: pyarrow can only unpack it whole.

Source: https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["FarReference", "SnappyStream"]
#: What a copy may reach back to. Compressors work on pieces of 64 KB, and none reaches out of its piece.
_HISTORY = 1 << 16
_BUFFER = 1 << 20
#: A tag with all that belongs to it, but for a literal's bytes.
_TAG_BYTES = 5
_MORE_INPUT, _MORE_ROOM, _FAR, _BAD = range(4)


class FarReference(Exception):
    """A copy from further back than is kept: legal, though nobody writes it."""


class SnappyStream:
    """Unpacked bytes of one packed block.

    Args:
        read: gives up to so many packed bytes, and none at their end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._packed = np.empty(0, np.uint8)
        self._out = np.empty(_HISTORY + _BUFFER, np.uint8)
        self._given = self._end = 0
        self._literal = np.zeros(1, np.int64)  # bytes that the literal in hand still has
        self._begun = False

    def read(self, size: int) -> bytes:
        """So many unpacked bytes.

        Raises:
            FarReference: see there; what was read before is right.
            pa.ArrowInvalid: the block ends before, or is no such block.
        """
        parts = []
        while size:
            if self._given == self._end:
                self._unpack()
            part = self._out[self._given : min(self._end, self._given + size)].tobytes()
            parts.append(part)
            self._given += len(part)
            size -= len(part)
        return b"".join(parts)

    def _unpack(self) -> None:
        """Fills the buffer behind the last of what was unpacked before."""
        if not self._begun:
            self._skip_length()
        kept = min(self._end, _HISTORY)
        self._out[:kept] = self._out[self._end - kept : self._end]
        self._given = self._end = kept
        while self._end == kept:
            used, self._end, why = _unpack()(self._packed, self._out, self._end, self._literal)
            self._packed = self._packed[used:]
            if why == _FAR and self._end == kept:
                raise FarReference
            if why == _BAD or (why == _MORE_INPUT and not self._more() and self._end == kept):
                raise pa.ArrowInvalid("Corrupt snappy compressed data")

    def _skip_length(self) -> None:
        self._begun = True
        while True:
            if not len(self._packed) and not self._more():
                raise pa.ArrowInvalid("Corrupt snappy compressed data")
            last, self._packed = self._packed[0] < 128, self._packed[1:]
            if last:
                return

    def _more(self) -> bool:
        more = self._read(_BUFFER)
        self._packed = np.concatenate([self._packed, np.frombuffer(more, np.uint8)])
        return bool(more)


def _unpacked(packed: np.ndarray, out: np.ndarray, end: int, literal: np.ndarray) -> tuple[int, int, int]:
    """Unpacks from the start of ``packed`` to ``out[end:]``, until one of them is exhausted.

    Args:
        literal: (1,) int64, bytes that are left of a literal; in and out.

    Returns:
        Bytes used, the new end of what is in ``out``, and why it stopped.
    """
    place = 0
    while True:
        if literal[0] > 0:
            count = min(literal[0], len(packed) - place, len(out) - end)
            out[end : end + count] = packed[place : place + count]
            place, end = place + count, end + count
            literal[0] -= count
            if literal[0] > 0:
                return place, end, _MORE_ROOM if end == len(out) else _MORE_INPUT
        if place == len(packed):
            return place, end, _MORE_INPUT
        tag = int(packed[place])
        kind, high = tag & 3, tag >> 2
        extra = (high - 59 if high > 59 else 0) if kind == 0 else (1, 2, 4)[kind - 1]
        if place + 1 + extra > len(packed):
            return place, end, _MORE_INPUT
        number = 0
        for index in range(extra):
            number |= int(packed[place + 1 + index]) << (8 * index)
        if kind == 0:
            literal[0] = (number if extra else high) + 1
            place += 1 + extra
            continue
        if kind == 1:
            length, back = (high & 7) + 4, (high >> 3) << 8 | number
        else:
            length, back = high + 1, number
        if back == 0:
            return place, end, _BAD
        if back > end:
            return place, end, _FAR
        if end + length > len(out):
            return place, end, _MORE_ROOM
        for index in range(length):  # it may copy what it has just written
            out[end + index] = out[end + index - back]
        place, end = place + 1 + extra, end + length


@cache
def _unpack() -> Any:
    """``_unpacked``, compiled. Workers load no compiler until a large page needs it."""
    from imgdedup_spark.compiled import compiled

    return compiled(_unpacked)
