"""The pages of a column chunk as streams: pyarrow unpacks a page whole, and a page may be gigabytes of pictures.

Source: https://parquet.apache.org/docs/file-format/ and its ``parquet.thrift``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from imgdedup_spark.files.snappy import FarReference, SnappyStream

__all__ = ["CODECS", "Page", "PageStream", "pages", "runs"]
#: Compressions that can be unpacked as a stream; LZ4 has three forms under one name.
CODECS = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "BROTLI"})
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_RLE = 3
_BUFFER = 1 << 20
# Headers hold statistics, which may hold values.
_HEADER, _LARGEST_HEADER = 1 << 12, 1 << 26


@dataclass(frozen=True)
class Page:
    """A page's header, and where its content lies.

    Attributes:
        values: how many, nulls included.
        encoding: as in ``parquet.thrift``.
        levels: bytes of definition levels that lie before the content, in pages of version 2; None in others.
        start: of the content in the file, levels of version 2 included.
        size, unpacked: bytes of it.
        packed: whether it is compressed at all.
    """

    is_dictionary: bool
    values: int
    encoding: int
    levels: int | None
    start: int
    size: int
    unpacked: int
    packed: bool


def pages(file: pa.NativeFile, start: int, end: int) -> Iterator[Page]:
    """The pages of dictionary and data of the column chunk between two places of a file.

    Raises:
        pa.ArrowException: there are none.
    """
    while start < end:
        header, length = _read_header(file, start)
        try:
            kind, unpacked, size = header[1], header[2], header[3]
            start += length
            page = _page(kind, header, start, size, unpacked)
        except KeyError:
            raise pa.ArrowInvalid("a page's header lacks what it must have") from None
        if size < 0 or unpacked < 0:
            raise pa.ArrowInvalid("a page of less than nothing")
        start += size
        if page is not None:
            yield page


def _page(kind: int, header: dict[int, Any], start: int, size: int, unpacked: int) -> Page | None:
    if kind == _DICTIONARY:
        about = header[7]
        return Page(True, about[1], about[2], None, start, size, unpacked, True)
    if kind == _DATA:
        about = header[5]
        if about[3] != _RLE:
            raise pa.ArrowNotImplementedError("definition levels that are not run lengths")
        return Page(False, about[1], about[2], None, start, size, unpacked, True)
    if kind == _DATA_2:
        about = header[8]
        if about[6]:
            raise pa.ArrowInvalid("repetition levels of a column that is no list")
        return Page(False, about[1], about[4], about[5], start, size, unpacked, about.get(7, True))
    return None


class PageStream:
    """The unpacked content of a page, read once from its start to its end."""

    def __init__(self, file: pa.NativeFile, page: Page, codec: str) -> None:
        self._file, self._page = file, page
        self._codec = codec if page.packed else "UNCOMPRESSED"
        self._first = page.levels or 0
        self._left = page.unpacked - self._first
        #: Where the next byte lies in the file, if the content is not compressed.
        self.place: int | None = page.start + self._first if self._codec == "UNCOMPRESSED" else None
        self._next = self._open()

    def levels(self) -> bytes:
        """Those of version 2, which are never compressed."""
        return bytes(self._file.read_at(self._first, self._page.start))

    def read(self, size: int) -> bytes | bytearray:
        """Exactly so many bytes.

        Raises:
            pa.ArrowException: the page has fewer, or is broken.
        """
        if not 0 <= size <= self._left:
            raise pa.ArrowInvalid("a page ends before its values do")
        try:
            data = self._next(size) if size else b""
        except FarReference:
            self._next = self._whole()
            data = self._next(size)
        if len(data) != size:
            raise pa.ArrowInvalid("a page ends before its values do")
        self._left -= size
        if self.place is not None:
            self.place += size
        return data

    def rest(self) -> bytes | bytearray:
        """All that was not read yet."""
        return self.read(self._left)

    def _open(self) -> Callable[[int], bytes | bytearray]:
        size = self._page.size - self._first
        if not size:
            return lambda _: b""
        stored = pa.BufferedInputStream(self._file.get_stream(self._page.start + self._first, size), _BUFFER)
        if self._codec == "UNCOMPRESSED":
            return stored.read
        if self._codec == "SNAPPY":
            return SnappyStream(stored.read).read
        return pa.CompressedInputStream(stored, self._codec.lower()).read

    def _whole(self) -> Callable[[int], bytes]:
        """What is left, from the page unpacked in memory."""
        packed = self._file.read_at(self._page.size - self._first, self._page.start + self._first)
        unpacked = self._page.unpacked - self._first
        stream = pa.BufferReader(pa.decompress(packed, unpacked, self._codec.lower()))
        stream.seek(unpacked - self._left)
        return stream.read


def runs(data: bytes | bytearray, width: int, count: int) -> np.ndarray:
    """(count,) int64 numbers of so many bits, stored as runs of one number and of packed ones.

    Raises:
        pa.ArrowInvalid: there are fewer.
    """
    found = np.zeros(count, np.int64)
    place = done = 0
    whole = (width + 7) // 8
    while done < count and width:
        head, place = _varint(data, place)
        if head & 1:
            numbers = min(8 * (head >> 1), count - done)
            packed = np.frombuffer(data[place : place + (head >> 1) * width], np.uint8)
            bits = np.unpackbits(packed, bitorder="little")[: numbers * width]
            if len(bits) < numbers * width:
                raise pa.ArrowInvalid("a page ends before its numbers do")
            found[done : done + numbers] = bits.reshape(-1, width) @ (1 << np.arange(width, dtype=np.int64))
            place += (head >> 1) * width
        else:
            numbers = min(head >> 1, count - done)
            found[done : done + numbers] = int.from_bytes(data[place : place + whole], "little")
            place += whole
            if not numbers or place > len(data):
                raise pa.ArrowInvalid("a page ends before its numbers do")
        done += numbers
    return found


def _read_header(file: pa.NativeFile, start: int) -> tuple[dict[int, Any], int]:
    """The header that begins there, by the numbers of its fields, and its length."""
    size = _HEADER
    while True:
        data = bytes(file.read_at(size, start))
        try:
            return _struct(data, 0)
        except IndexError:
            if len(data) < size or size > _LARGEST_HEADER:
                raise pa.ArrowInvalid("a page has no header") from None
            size *= 16


def _varint(data: bytes | bytearray, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise IndexError
        byte = data[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _struct(data: bytes, place: int) -> tuple[dict[int, Any], int]:
    """A struct of Thrift's compact protocol."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[place]:
        place += 1
        if head >> 4:
            number += head >> 4
        else:
            raw, place = _varint(data, place)
            number = _signed(raw)
        kind = head & 15
        if kind in (1, 2):
            fields[number] = kind == 1
        else:
            fields[number], place = _value(data, place, kind)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):  # a truth in a list, or a byte
        return data[place], place + 1
    if kind in (4, 5, 6):
        raw, place = _varint(data, place)
        return _signed(raw), place
    if kind == 7:
        return None, place + 8
    if kind == 8:
        length, place = _varint(data, place)
        if place + length > len(data):
            raise IndexError
        return data[place : place + length], place + length
    if kind in (9, 10):
        head, place = data[place], place + 1
        count = head >> 4
        if count == 15:
            count, place = _varint(data, place)
        items = []
        for _ in range(count):
            item, place = _value(data, place, head & 15)
            items.append(item)
        return items, place
    if kind == 12:
        return _struct(data, place)
    raise pa.ArrowInvalid(f"a page's header has a field of type {kind}")
