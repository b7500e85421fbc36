"""Copies the rows that are kept from parts of Parquet and JSON lines files, without Spark.

Rows go from file to file as they are: same types, metadata and order, JSON lines byte for byte. What the
copy cannot carry over faithfully it refuses with ``CopyMismatch``, so that the caller can let Spark write it.

A *piece* is what one Spark task reads of a file. Which rows are in it follows Spark's own rules:

- Parquet: a row group belongs to the piece that its middle lies in, where the row group begins at its first
  column's first page and is as long as its compressed columns together (parquet-mr,
  ``ParquetMetadataConverter.filterFileMetaDataByMidpoint``).
- JSON lines: a line that begins at byte b belongs to the piece with start < b <= start + length, the file's
  first line to the first piece (Hadoop, ``LineRecordReader``). Lines of white space are no rows. Compressed
  files are one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.errors import CopyMismatch
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet_schema import known_fields, leaf_of, with_extra
from imgdedup_spark.files.pieces import Piece
from imgdedup_spark.files.storage import size_of

__all__ = ["owned_row_groups", "write_empty_parquet"]


# Decoded bytes read at once, by the row group's mean row size. A row group itself may be a gigabyte.
_BATCH_BYTES = 8 << 20


# Decoded bytes and rows of one row group written: large enough for readers, small enough for memory.
_ROW_GROUP_BYTES = 32 << 20


_ROW_GROUP_ROWS = 1 << 20


# Parquet's customary page size. pyarrow looks at it every 1,024 values only, which are 60 MB of pictures.
_PAGE_BYTES = 1 << 20


_VALUES_BETWEEN_LOOKS = 1024


# Row groups up to this size (compressed) are read column by column in one go, which is faster; of larger ones
# each column is streamed through a buffer, all buffers together of this size.
_WHOLE_GROUP_BYTES = 16 << 20


_LARGEST_BUFFER = 4 << 20


_SPARK_VERSION = b"org.apache.spark.version"


# Parquet -----------------------------------------------------------------------------
def owned_row_groups(metadata: pq.FileMetaData, start: int, length: int) -> list[int]:
    """The row groups that Spark reads in the piece of ``length`` bytes from byte ``start``."""
    owned = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = [group.column(number) for number in range(group.num_columns)]
        begin = columns[0].data_page_offset
        dictionary = columns[0].dictionary_page_offset
        if dictionary is not None and dictionary < begin:
            begin = dictionary
        middle = begin + sum(column.total_compressed_size for column in columns) // 2
        if start <= middle < start + length:
            owned.append(index)
    return owned


def write_empty_parquet(like_uri: str, out_uri: str, extra: Sequence[str] = ()) -> None:
    """Writes a file of no rows with the schema and metadata of another.

    ``like_uri`` is percent-encoded as in ``_metadata.file_path``; ``extra`` names string columns to add.
    """
    with _ParquetSource(like_uri) as source:
        schema = with_extra(source.schema, [pa.field(name, pa.string()) for name in extra])
        with storage.open_output(out_uri) as stream:
            _open_writer(stream, schema, source.writer_options(schema)).close()


def _open_writer(stream: pa.NativeFile, schema: pa.Schema, options: dict[str, Any]) -> pq.ParquetWriter:
    writer = pq.ParquetWriter(stream, schema, **options)
    if schema.metadata and not options["store_schema"]:
        writer.add_key_value_metadata(schema.metadata)  # which pyarrow leaves out together with its schema
    return writer


def copy_parquet(
    pieces: Sequence[Piece], kept: Sequence[np.ndarray], out_uri: str, extra: Sequence[pa.Table] | None
) -> int:
    fields = known_fields(extra[0].schema) if extra else []
    try:
        with ExitStack() as stack:
            output: _ParquetOutput | None = None
            for index, piece in enumerate(pieces):
                with _ParquetSource(piece.uri) as source:
                    groups = source.groups_of(piece)
                    if not kept[index].any():
                        continue
                    source.check_int96(groups)
                    if output is None:
                        schema = with_extra(source.schema, fields)
                        options = source.writer_options(schema)
                        stream = stack.enter_context(storage.open_output(out_uri))
                        writer = stack.enter_context(_open_writer(stream, schema, options))
                        output = _ParquetOutput(writer, schema, source)
                    output.check_same(source)
                    more = None if extra is None else extra[index].cast(pa.schema(fields))
                    for table in _kept_tables(source, groups, kept[index], more):
                        output.write(table)
            if output is not None:
                output.flush()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise CopyMismatch(f"{pieces[0].uri}: cannot be copied as it is: {error}") from error
    return 0 if output is None else size_of(out_uri)


def _kept_tables(
    source: _ParquetSource, groups: list[int], kept: np.ndarray, extra: pa.Table | None
) -> Iterator[pa.Table]:
    """The kept rows of the row groups, in tables of bounded size. Row groups of none are not read."""
    row = 0
    for group in groups:
        rows = source.metadata.row_group(group).num_rows
        if not kept[row : row + rows].any():
            row += rows
            continue
        for batch in source.batches(group):
            mask = kept[row : row + len(batch)]
            table = pa.Table.from_batches([batch])
            if extra is not None:
                for name in extra.column_names:
                    table = table.append_column(name, extra[name].slice(row, len(batch)))
            row += len(batch)
            yield table if mask.all() else table.filter(pa.array(mask))


class _ParquetSource:
    """One Parquet file that is read, with what a faithful copy needs to know of it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        opened, path = storage.open_fs(storage.from_spark(uri))
        self._stream = opened.open_input_file(path)
        whole = pq.ParquetFile(self._stream, pre_buffer=False)
        self.metadata = whole.metadata
        leaves = [whole.schema.column(index) for index in range(len(whole.schema))]
        self.leaves = [leaf_of(column) for column in leaves]
        self._int96 = [column.path for column in leaves if column.physical_type == "INT96"]
        self._by_spark = _SPARK_VERSION in (self.metadata.metadata or {})
        # Spark's INT96 is of microseconds, over all years; nanoseconds reach from 1677 to 2262.
        self._unit = "us" if self._by_spark else "ns"
        self._whole = self._reopen()
        self.schema = self._whole.schema_arrow

    def __enter__(self) -> _ParquetSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _reopen(self, buffer_bytes: int = 0, unit: str | None = None) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._stream,
            metadata=self.metadata,
            # Else pyarrow loads the whole row group ahead.
            pre_buffer=False,
            buffer_size=buffer_bytes,
            coerce_int96_timestamp_unit=(unit or self._unit) if self._int96 else None,
        )

    def groups_of(self, piece: Piece) -> list[int]:
        """The piece's row groups. Raises CopyMismatch if they do not hold the piece's rows."""
        groups = owned_row_groups(self.metadata, piece.start, piece.length)
        rows = sum(self.metadata.row_group(group).num_rows for group in groups)
        before = groups[0] if groups else 0
        first_row = sum(self.metadata.row_group(group).num_rows for group in range(before))
        if rows != piece.rows or (rows and first_row != piece.first_row):
            raise CopyMismatch(
                f"{self.uri}: {rows} rows from row {first_row} in the piece from byte {piece.start}, "
                f"where Spark read {piece.rows} from row {piece.first_row}"
            )
        return groups

    def check_int96(self, groups: list[int]) -> None:
        """Raises ArrowInvalid if timestamps in the row groups do not fit into the unit they are read in."""
        if not self._int96 or self._by_spark:
            return
        for group in groups:
            micro = self._reopen(unit="us").read_row_group(group, columns=self._int96, use_threads=False)
            # pyarrow checks this cast, but not its reading.
            micro.cast(pa.schema([self.schema.field(name) for name in micro.column_names]))

    def batches(self, group: int) -> Iterator[pa.RecordBatch]:
        about = self.metadata.row_group(group)
        columns = range(about.num_columns)
        on_disk = sum(about.column(number).total_compressed_size for number in columns)
        file = self._whole
        if on_disk > _WHOLE_GROUP_BYTES:
            file = self._reopen(max(1 << 16, min(_LARGEST_BUFFER, _WHOLE_GROUP_BYTES // len(columns))))
        rows = max(1, _BATCH_BYTES * about.num_rows // max(1, about.total_byte_size))
        # Other tasks have the other cores.
        return file.iter_batches(batch_size=min(rows, _ROW_GROUP_ROWS), row_groups=[group], use_threads=False)

    def writer_options(self, schema: pa.Schema) -> dict[str, Any]:
        """Options of ``pq.ParquetWriter`` that store ``schema``, this file's own or a longer one, as here.

        Raises CopyMismatch if this file has types that pyarrow would write differently.
        """
        options: dict[str, Any] = {
            "store_schema": b"ARROW:schema" in (self.metadata.metadata or {}),
            "use_deprecated_int96_timestamps": bool(self._int96),
            "use_compliant_nested_type": not any(".list.item" in leaf.path for leaf in self.leaves),
        }
        if any(leaf.logical.get("Type") == "Decimal" and leaf.type.startswith("INT") for leaf in self.leaves):
            options["store_decimal_as_integer"] = True
        trial = pa.BufferOutputStream()
        pq.ParquetWriter(trial, schema, **options).close()
        written = pq.ParquetFile(pa.BufferReader(trial.getvalue())).schema
        copies = [leaf_of(written.column(index)) for index in range(len(written))]
        for leaf, copy in zip(self.leaves, copies, strict=False):
            if not leaf.means(copy):
                raise CopyMismatch(f"{self.uri}: column {leaf.path} ({leaf.type}) would become {copy.type}")
        if len(copies) < len(self.leaves):
            raise CopyMismatch(f"{self.uri}: not all columns can be copied")
        if self.metadata.num_row_groups:
            group = self.metadata.row_group(0)
            columns = {copy.path: group.column(index) for index, copy in enumerate(copies[: len(self.leaves)])}
            options["compression"] = {
                path: "NONE" if column.compression == "UNCOMPRESSED" else column.compression
                for path, column in columns.items()
            }
            options["use_dictionary"] = [path for path, column in columns.items() if column.has_dictionary_page]
            options["write_statistics"] = [path for path, column in columns.items() if column.is_stats_set]
            values = _PAGE_BYTES * group.num_rows // max(1, group.total_byte_size)
            options["write_batch_size"] = min(max(1, values), _VALUES_BETWEEN_LOOKS)
            options["write_page_index"] = any(column.has_column_index for column in columns.values())
        return options


class _ParquetOutput:
    """The Parquet file that is written, in row groups of bounded size."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, like: _ParquetSource) -> None:
        self._writer, self._schema = writer, schema
        self._like_schema, self._like_leaves = like.schema, like.leaves
        self._pending: list[pa.Table] = []
        self._rows = self._bytes = 0

    def check_same(self, source: _ParquetSource) -> None:
        if not source.schema.equals(self._like_schema) or source.leaves != self._like_leaves:
            raise CopyMismatch(f"{source.uri}: its columns differ from those of the files before it")

    def write(self, table: pa.Table) -> None:
        self._pending.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._bytes >= _ROW_GROUP_BYTES or self._rows >= _ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            table = pa.concat_tables(self._pending)
            # The same columns under the file's own metadata, which those of later pieces may differ in.
            table = pa.Table.from_arrays(table.columns, schema=self._schema)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._pending, self._rows, self._bytes = [], 0, 0
