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
#: Google's compressor works on pieces of so many bytes, of which none refers to another, and makes at most so many of
#: one.
_PIECE, _LONGEST_PIECE = 1 << 16, 32 + (1 << 16) + (1 << 16) // 6
_BUFFER = 1 << 20
# Of each first byte of an element: the bytes that the element takes, and those that it makes. A literal whose length is
# in further bytes takes none here.
_COPIES, _LONG = {1: 2, 2: 3, 3: 5}, range(60, 64)
_TAKES = tuple(_COPIES[tag & 3] if tag & 3 else 0 if tag >> 2 in _LONG else (tag >> 2) + 2 for tag in range(256))
_MAKES = tuple((tag >> 2 & 7) + 4 if tag & 3 == 1 else (tag >> 2) + 1 for tag in range(256))
# Pictures hardly pack: a piece of theirs is a literal or two. Where pieces are of thousands of elements, so many of
# them cost what the compiler does, which takes memory, too.
_DENSE, _WORTH_COMPILING = 2000, 2000
_dense = 0


class FarReference(Exception):
    """Something that reaches out of its piece, as of compressors with larger ones; Google's, and so Arrow's and
    Hadoop's, have none such."""


class SnappyStream:
    """Unpacked bytes of one packed block.

    Args:
        read: gives up to so many packed bytes, and none at their end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._packed, self._place = b"", 0
        self._left = -1  # unpacked bytes of the pieces to come
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytearray:
        """So many unpacked bytes.

        Raises:
            FarReference: see there; what was read before is right.
            pa.ArrowInvalid: the block ends before, or is no such block.
        """
        found, done = bytearray(size), 0
        while done < size:
            if not self._piece:
                self._piece = self._next_piece()
            part = self._piece[: size - done]
            found[done : done + len(part)] = part
            done += len(part)
            self._piece = self._piece[len(part) :]
        return found

    def _next_piece(self) -> memoryview:
        while len(self._packed) - self._place < _LONGEST_PIECE and (more := self._read(_BUFFER)):
            self._packed, self._place = self._packed[self._place :] + more, 0
        if self._left < 0:
            self._left = self._length()
        size = min(_PIECE, self._left)
        if not size:
            raise pa.ArrowInvalid("Corrupt snappy compressed data")
        end = self._end_of_piece(size)
        packed = _varint(size) + self._packed[self._place : end]
        try:
            piece = pa.decompress(packed, size, "snappy")
        except (pa.ArrowInvalid, OSError):
            raise FarReference from None
        self._place = end
        self._left -= size
        if not self._left and (end < len(self._packed) or self._read(1)):
            raise pa.ArrowInvalid("Corrupt snappy compressed data")
        return memoryview(piece)

    def _end_of_piece(self, size: int) -> int:
        global _dense
        if _dense < _WORTH_COMPILING:
            end, elements = _end_of_piece(self._packed, self._place, size)
            _dense += elements > _DENSE
        else:
            end, _ = _compiled_end()(np.frombuffer(self._packed, np.uint8), self._place, size)
        if end < 0:
            raise FarReference
        return int(end)

    def _length(self) -> int:
        """The unpacked bytes of all, which stand first."""
        for place in range(min(5, len(self._packed))):
            if self._packed[place] < 128:
                self._place = place + 1
                return sum((byte & 127) << 7 * at for at, byte in enumerate(self._packed[: place + 1]))
        raise pa.ArrowInvalid("Corrupt snappy compressed data")


def _varint(number: int) -> bytes:
    return bytes([number & 127 | 128, number >> 7 & 127 | 128, number >> 14])


def _end_of_piece(packed: Any, place: int, size: int) -> tuple[int, int]:
    """Where the elements end that make so many bytes, and how many they are; no place where they reach out of it.

    Args:
        packed: bytes, or an array of them.
    """
    made = elements = 0
    while made < size and place < len(packed):
        tag = packed[place]
        takes = _TAKES[tag]
        if takes:
            place += takes
            made += _MAKES[tag]
        else:
            more = (tag >> 2) - 59
            if place + more >= len(packed):
                return -1, elements
            length = 1
            for index in range(more):
                length += packed[place + 1 + index] << 8 * index
            place += 1 + more + length
            made += length
        elements += 1
    return (place if made == size and place <= len(packed) else -1), elements


@cache
def _compiled_end() -> Any:
    from imgdedup_spark.compiled import compiled

    return compiled(_end_of_piece)
