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

from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet import owned_row_groups

# Decoded bytes read at once: some hundred small pictures, or a few large ones.
_BATCH_BYTES = 8 << 20


_BATCH_ROWS = 1024


# A column of a row group larger than this (compressed) is streamed through a buffer instead of read in one go.
_WHOLE_BYTES = 16 << 20


_BUFFER_BYTES = 1 << 20


class ColumnReader:
    """Keeps the piece that it reads open between calls: a task's rows come in order, a piece at a time."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._piece: _Piece | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"column": self.column, "_piece": None}

    def read(self, place: pa.StructArray) -> Iterator[tuple[int, pa.Array]]:
        """The column's values for rows at these places, in portions: (index of the first row, values).

        Args:
            place: ``file`` (percent-encoded), ``start``, ``length`` of the piece and ``row`` in the file of each row.

        Raises:
            ValueError: the file does not have the rows that Spark read in it.
        """
        file, start, row = place.field("file"), np.asarray(place.field("start")), np.asarray(place.field("row"))
        codes = np.asarray(file.dictionary_encode().indices)
        cuts = np.flatnonzero((np.diff(codes) != 0) | (np.diff(start) != 0)) + 1
        for first, end in zip([0, *cuts], [*cuts, len(row)], strict=True):
            if first == end:
                continue
            key = (file[int(first)].as_py(), int(start[first]))
            if self._piece is None or self._piece.key != key:
                self._piece = _Piece(key, int(place.field("length")[int(first)].as_py()), self.column)
            yield from self._piece.take(row[first:end], int(first))


class _Piece:
    """One piece of a file, read once from its first row to its last."""

    def __init__(self, key: tuple[str, int], length: int, column: str) -> None:
        self.key = key
        opened, path = storage.open_fs(storage.from_spark(key[0]))
        self._stream = opened.open_input_file(path)
        self._metadata = pq.read_metadata(self._stream)
        self._groups = owned_row_groups(self._metadata, key[1], length)
        self._column = column
        counts = [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]
        self._first_rows = np.concatenate([[0], np.cumsum(counts)])
        self._batches = self._read()
        self._rest: pa.Array | None = None
        self._next_row = -1

    def take(self, rows: np.ndarray, offset: int) -> Iterator[tuple[int, pa.Array]]:
        if (np.diff(rows) != 1).any():
            raise ValueError(f"{self.key[0]}: rows out of order")
        done = 0
        while done < len(rows):
            if self._rest is None or len(self._rest) == 0:
                self._next_row, self._rest = next(self._batches, (-1, None))
                if self._rest is None:
                    raise ValueError(f"{self.key[0]}: fewer rows than Spark read; did the file change?")
            # Rows can only be missing before the first that is asked for: a task may begin within a piece.
            skip = int(rows[done]) - self._next_row
            if skip < 0:
                raise ValueError(f"{self.key[0]}: row {rows[done]} is not where Spark found it; did the file change?")
            values = self._rest.slice(skip, len(rows) - done)
            used = min(skip + len(values), len(self._rest))
            self._rest, self._next_row = self._rest.slice(used), self._next_row + used
            if len(values):
                yield offset + done, values
                done += len(values)

    def _read(self) -> Iterator[tuple[int, pa.Array]]:
        for group in self._groups:
            about = self._metadata.row_group(group)
            leaves = [about.column(index) for index in range(about.num_columns)]
            mine = [leaf for leaf in leaves if leaf.path_in_schema.split(".")[0] == self._column.split(".")[0]]
            on_disk = sum(leaf.total_compressed_size for leaf in mine)
            size = sum(leaf.total_uncompressed_size for leaf in mine)
            rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * about.num_rows // max(1, size)))
            file = pq.ParquetFile(
                self._stream,
                metadata=self._metadata,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES if on_disk > _WHOLE_BYTES else 0,
            )
            first = int(self._first_rows[group])
            if self._column not in file.schema_arrow.names:
                # A file older than the column: Spark reads nulls.
                yield first, pa.nulls(about.num_rows, pa.binary())
                continue
            # Other tasks have the other cores.
            for batch in file.iter_batches(rows, row_groups=[group], columns=[self._column], use_threads=False):
                yield first, batch.column(0)
                first += batch.num_rows
