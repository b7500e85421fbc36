"""Reads one column of a Parquet file in the Spark worker itself, for rows that Spark names by place.

Spark's way to a picture is long: its own reader, a row, an Arrow batch, a socket. Here Spark only says which rows a
task has; the worker reads their pictures from the file, which costs about half.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.errors import JobError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.files.parquet_batches import BoundedFile, fetched_whole

# Decoded bytes read at once: some hundred small pictures, or a few large ones.
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1024
# Rows that nobody asks for are read all the same, if they are no more.
_READ_OVER = 1024
# A column of a row group larger than this (compressed) is streamed through a buffer instead of read in one go.
_WHOLE_BYTES = 16 << 20
_BUFFER_BYTES = 1 << 20


class ColumnReader:
    """Keeps the file that it reads open between calls: a task's rows come in order, a stretch of a file at a time."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._stretch: _Stretch | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"column": self.column, "_stretch": None}

    def read(self, place: pa.StructArray) -> Iterator[tuple[int, pa.Array]]:
        """The column's values for rows at these places, in portions: (index of the first row, values).

        Args:
            place: ``file`` (percent-encoded) and ``row``, the number in the file, of each row.

        Raises:
            ValueError: the file does not have the rows that Spark read in it.
            JobError: the file cannot be read.
        """
        file, row = place.field("file"), np.asarray(place.field("row"))
        codes = np.asarray(file.dictionary_encode().indices)
        cuts = np.flatnonzero((np.diff(codes) != 0) | (np.diff(row) != 1)) + 1
        for first, end in zip([0, *cuts], [*cuts, len(row)], strict=True):
            if first == end:
                continue
            uri, begin = file[int(first)].as_py(), int(row[first])
            try:
                if self._stretch is None or not self._stretch.goes_on_to(uri, begin):
                    self._stretch = _Stretch(uri, self.column, begin)
                yield from self._stretch.take(begin, int(end - first), int(first))
            except BROKEN as error:
                raise JobError(
                    f"{storage.absolute(storage.from_spark(uri))} cannot be read: {first_line(error)}"
                ) from error


class _Stretch:
    """A file, read once from a row on."""

    def __init__(self, uri: str, column: str, row: int) -> None:
        self.uri = uri
        opened, path = storage.open_fs(storage.from_spark(uri))
        self._stream = opened.open_input_file(path)
        self._metadata = pq.read_metadata(self._stream)
        self._column = column
        counts = [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]
        self._first_rows = np.concatenate([[0], np.cumsum(counts)])
        self._batches = self._read(row)
        self._rest: pa.Array | None = None
        self._next_row = row

    def goes_on_to(self, uri: str, row: int) -> bool:
        """Whether that row comes next, or after some of the same row group that nobody asks for."""
        if uri != self.uri or row < self._next_row:
            return False
        group = np.searchsorted(self._first_rows, [self._next_row, row], side="right")
        return row == self._next_row or bool(group[0] == group[1])

    def take(self, row: int, count: int, offset: int) -> Iterator[tuple[int, pa.Array]]:
        end = row + count
        if self._next_row + _READ_OVER < row:  # passing over them costs less
            self._batches, self._rest = self._read(row), None
        while row < end:
            if self._rest is None or self._next_row + len(self._rest) <= row:
                self._next_row, self._rest = next(self._batches, (-1, None))
                if self._rest is None:
                    raise ValueError(f"{self.uri}: fewer rows than Spark read; did the file change?")
            skip = row - self._next_row
            values = self._rest.slice(skip, end - row)
            if len(values):
                yield offset + count - (end - row), values
                row += len(values)
            self._rest, self._next_row = self._rest.slice(skip + len(values)), self._next_row + skip + len(values)

    def _read(self, row: int) -> Iterator[tuple[int, pa.Array]]:
        first_group = max(0, int(np.searchsorted(self._first_rows, row, side="right")) - 1)
        for group in range(first_group, self._metadata.num_row_groups):
            about = self._metadata.row_group(group)
            leaves = [about.column(index) for index in range(about.num_columns)]
            mine = [leaf for leaf in leaves if leaf.path_in_schema.split(".")[0] == self._column.split(".")[0]]
            on_disk = sum(leaf.total_compressed_size for leaf in mine)
            size = sum(leaf.total_uncompressed_size for leaf in mine)
            rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * about.num_rows // max(1, size)))
            file = BoundedFile(
                self._stream,
                whole=fetched_whole(self.uri, on_disk),
                metadata=self._metadata,
                buffer_size=_BUFFER_BYTES if on_disk > _WHOLE_BYTES else 0,
            )
            first = int(self._first_rows[group])
            if self._column not in file.schema_arrow.names:
                # A file older than the column: Spark reads nulls.
                yield first, pa.nulls(about.num_rows, pa.binary())
                continue
            skip = max(0, row - first)
            first += skip
            for batch in file.bounded_batches(group, rows, [self._column], skip):
                yield first, batch.column(0)
                first += batch.num_rows
