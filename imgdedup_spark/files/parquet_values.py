"""Values of one column of bytes, a few at a time, however large the pages are that they are stored in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.files.parquet_pages import CODECS, Page, PageStream, pages, runs

__all__ = ["Leaf", "Value", "Values", "leaf_of_pages"]
#: Unpacked bytes of a page that pyarrow may unpack whole, and copy.
LARGE_PAGE = 64 << 20
Value: TypeAlias = bytes | bytearray | None
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8


class Leaf(NamedTuple):
    """A column chunk.

    Attributes:
        path: of the column, with dots.
        start, end: in the file.
        codec: its compression.
        depth: definition level of a value that is there: how many of it and its parents may be null.
        rows: of the row group.
    """

    path: str
    start: int
    end: int
    codec: str
    depth: int
    rows: int


def leaf_of_pages(
    file: pa.NativeFile, about: pq.ColumnChunkMetaData, schema: pq.ColumnSchema, *, any_size: bool = False
) -> Leaf | None:
    """A column chunk that ``Values`` should read; None if pyarrow had better do so.

    Only its first pages are looked at: writers cut all in one way.

    Args:
        schema: of the column.
        any_size: of its pages; else they are large.
    """
    start = min(one for one in (about.data_page_offset, about.dictionary_page_offset) if one)
    leaf = Leaf(
        about.path_in_schema,
        start,
        start + about.total_compressed_size,
        about.compression,
        schema.max_definition_level,
        about.num_values,
    )
    known = about.compression in CODECS and schema.physical_type == "BYTE_ARRAY" and not schema.max_repetition_level
    if not known or (about.total_uncompressed_size <= LARGE_PAGE and not any_size):
        return None
    try:
        first = []
        for page in pages(file, leaf.start, leaf.end):
            first.append(page)
            if not page.is_dictionary:
                break
    except pa.ArrowException:
        return None
    encodings = {_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY}
    large = any_size or any(page.unpacked > LARGE_PAGE for page in first)
    return leaf if large and all(page.encoding in encodings for page in first) else None


class Values:
    """Reads a column chunk from its start to its end."""

    def __init__(self, file: pa.NativeFile, leaf: Leaf) -> None:
        self._file, self._leaf = file, leaf
        self._pages = pages(file, leaf.start, leaf.end)
        self._dictionary: _Dictionary | None = None
        self._page: _DataPage | None = None
        self._ahead: tuple[int, Value] | None = None  # read, and too large for the batch before

    def skip(self, rows: int) -> None:
        """Passes over the next values; pages that hold no others are not read."""
        while rows:
            if self._page is None or not self._page.left:
                page = next(self._pages, None)
                if page is None:
                    return
                if not page.is_dictionary and page.values <= rows:
                    rows -= page.values
                else:
                    self._open(page)
            else:
                self._page.next()
                rows -= 1

    def take(self, rows: int, size: int | None = None) -> tuple[list[Value], np.ndarray]:
        """The next values, null or not, and their definition levels.

        Args:
            rows: how many, unless the column ends before.
            size: bytes, at most, or of one larger value alone.

        Raises:
            pa.ArrowException: the column is broken.
        """
        values: list[Value] = []
        levels: list[int] = []
        held = 0
        while len(values) < rows and (one := self._ahead or self._next()) is not None:
            level, value = one
            held += len(value or b"")
            self._ahead = one if values and size is not None and held > size else None
            if self._ahead:
                break
            values.append(value)
            levels.append(level)
        return values, np.array(levels, np.int64)

    def _next(self) -> tuple[int, Value] | None:
        while self._page is None or not self._page.left:
            page = next(self._pages, None)
            if page is None:
                return None
            self._open(page)
        return self._page.next()

    def _open(self, page: Page) -> None:
        stream = PageStream(self._file, page, self._leaf.codec)
        if page.is_dictionary:
            self._dictionary = _Dictionary(stream, self._file, page.values)
        else:
            self._page = _DataPage(stream, page, self._leaf.depth, self._dictionary)


class _DataPage:
    def __init__(self, stream: PageStream, page: Page, depth: int, dictionary: _Dictionary | None) -> None:
        self.left = page.values
        self._stream, self._depth, self._dictionary = stream, depth, dictionary
        width = depth.bit_length()
        if page.levels is not None:
            self._levels = runs(stream.levels(), width, page.values)
        elif depth:
            self._levels = runs(stream.read(int.from_bytes(stream.read(4), "little")), width, page.values)
        if not depth:
            self._levels = np.zeros(page.values, np.int64)
        self._numbers: np.ndarray | None = None
        if page.encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
            if dictionary is None:
                raise pa.ArrowInvalid("a page's dictionary is missing")
            there = int((self._levels == depth).sum())
            rest = stream.rest()
            self._numbers = runs(rest[1:], rest[0], there) if there else np.zeros(0, np.int64)
        elif page.encoding != _PLAIN:
            raise pa.ArrowNotImplementedError(f"a page of encoding {page.encoding} after others")
        self._row = self._used = 0

    def next(self) -> tuple[int, Value]:
        """A value, and its definition level."""
        level = int(self._levels[self._row])
        self._row += 1
        self.left -= 1
        if level < self._depth:
            return level, None
        if self._numbers is None:
            return level, self._stream.read(int.from_bytes(self._stream.read(4), "little"))
        assert self._dictionary is not None
        self._used += 1
        return level, self._dictionary.get(int(self._numbers[self._used - 1]))


class _Dictionary:
    """Values by number. Writers number them as they first appear, so that most are read once and in order; those that
    are read again lie in the file if it is not compressed, else in a temporary one."""

    def __init__(self, stream: PageStream, file: pa.NativeFile, count: int) -> None:
        self._stream, self._file, self._count = stream, file, count
        self._known: list[tuple[int, int]] = []
        self._spool = None
        if stream.place is None:
            folder = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0]
            self._spool = tempfile.TemporaryFile(dir=folder if Path(folder).is_dir() and folder else None)  # noqa: SIM115

    def get(self, number: int) -> bytes | bytearray:
        if number >= self._count:
            raise pa.ArrowInvalid("a value that the page's dictionary does not have")
        if number < len(self._known):
            place, size = self._known[number]
            if self._spool is None:
                return bytes(self._file.read_at(size, place))
            self._spool.seek(place)
            return self._spool.read(size)
        while len(self._known) <= number:
            value = self._read()
        return value

    def _read(self) -> bytes | bytearray:
        size = int.from_bytes(self._stream.read(4), "little")
        place = self._stream.place
        value = self._stream.read(size)
        if self._spool is not None:
            place = self._spool.seek(0, os.SEEK_END)
            self._spool.write(value)
        assert place is not None
        self._known.append((place, size))
        return value
