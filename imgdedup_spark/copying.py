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

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark import storage
from imgdedup_spark.errors import UserError

__all__ = ["CopyMismatch", "CopyResult", "Piece", "copy_pieces", "owned_row_groups", "write_empty_parquet"]

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
# Bytes of JSON lines read at once.
_BLOCK_BYTES = 8 << 20

# What Hadoop decompresses by file ending, and pyarrow's names for it. None: formats that only Hadoop reads.
_CODECS = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
    ".lz4": "lz4",
    ".deflate": None,
    ".snappy": None,
    ".lzo": None,
}
_JSON_SPACE = b" \t\r\n"

_SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"
_SPARK_VERSION = b"org.apache.spark.version"
_HUGGING_FACE = b"huggingface"


class CopyMismatch(Exception):
    """The file does not hold the rows that Spark read there, or holds what cannot be copied as it is."""


@dataclass(frozen=True)
class Piece:
    """One part of one file, as Spark reads it.

    Attributes:
        uri: the file, percent-encoded as in ``_metadata.file_path``.
        start, length: bytes, as in ``_metadata.file_block_start`` and ``file_block_length``.
        first_row: number of the piece's first row in its file, from 0.
        rows: how many rows Spark read in the piece.
    """

    uri: str
    start: int
    length: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class CopyResult:
    """Rows read and rows written of each piece, and the bytes of the file (0: there is none)."""

    rows_in: tuple[int, ...]
    rows_out: tuple[int, ...]
    bytes: int


def copy_pieces(
    kind: Literal["parquet", "jsonl"],
    pieces: Sequence[Piece],
    dropped: Mapping[int, np.ndarray],
    out_uri: str,
    extra: Sequence[pa.Table] | None = None,
) -> CopyResult:
    """Writes the rows of ``pieces`` that are not dropped to one file, in order.

    Args:
        kind: of the pieces and of the output; JSON lines are written uncompressed.
        dropped: by index into ``pieces``, the numbers **in the file** of the rows to leave out, in any order.
        out_uri: plain URI. The file appears there whole or not at all; if no row is kept there is none.
        extra: for each piece a table with a row for each row of the piece, put behind the row's own columns;
            of the types in ``_TYPE_NAMES``.

    Raises:
        CopyMismatch: the rows are not those that Spark read, or cannot be copied as they are. Nothing is
            written.
        UserError: the input has a column of the name of one in ``extra``.
    """
    kept = [_kept(piece, dropped.get(index)) for index, piece in enumerate(pieces)]
    if extra is not None and [table.num_rows for table in extra] != [piece.rows for piece in pieces]:
        raise ValueError("extra columns need a row for each row of each piece")
    copy = _copy_parquet if kind == "parquet" else _copy_jsonl
    written = copy(pieces, kept, out_uri, extra)
    rows_out = tuple(int(mask.sum()) for mask in kept)
    return CopyResult(tuple(piece.rows for piece in pieces), rows_out, written)


def _kept(piece: Piece, dropped: np.ndarray | None) -> np.ndarray:
    """(rows,) bool. Raises CopyMismatch if a number lies outside of the piece."""
    kept = np.ones(piece.rows, bool)
    if dropped is not None and len(dropped):
        numbers = np.asarray(dropped, np.int64) - piece.first_row
        if numbers.min() < 0 or numbers.max() >= piece.rows:
            raise CopyMismatch(f"{piece.uri}: a dropped row is not in the piece from byte {piece.start}")
        kept[numbers] = False
    return kept


def _size_of(uri: str) -> int:
    opened, path = storage.open_fs(uri)
    return int(opened.get_file_info(path).size)


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
        schema = _with_extra(source.schema, [pa.field(name, pa.string()) for name in extra])
        with storage.open_output(out_uri) as stream:
            _open_writer(stream, schema, source.writer_options(schema)).close()


def _open_writer(stream: pa.NativeFile, schema: pa.Schema, options: dict[str, Any]) -> pq.ParquetWriter:
    writer = pq.ParquetWriter(stream, schema, **options)
    if schema.metadata and not options["store_schema"]:
        writer.add_key_value_metadata(schema.metadata)  # which pyarrow leaves out together with its schema
    return writer


def _copy_parquet(
    pieces: Sequence[Piece], kept: Sequence[np.ndarray], out_uri: str, extra: Sequence[pa.Table] | None
) -> int:
    fields = _known_fields(extra[0].schema) if extra else []
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
                        schema = _with_extra(source.schema, fields)
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
    return 0 if output is None else _size_of(out_uri)


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
        self.leaves = [_leaf(column) for column in leaves]
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
        copies = [_leaf(written.column(index)) for index in range(len(written))]
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


@dataclass(frozen=True)
class _Leaf:
    """How one leaf column is stored."""

    path: str
    type: str
    logical: dict[str, Any]
    length: int
    levels: tuple[int, int]

    def means(self, other: _Leaf) -> bool:
        """Equal but for the names inside of lists, which writers choose differently and readers pass over."""
        mine, theirs = self.path.split(".")[0], other.path.split(".")[0]
        return (mine, self.type, self.logical, self.length, self.levels) == (
            theirs,
            other.type,
            other.logical,
            other.length,
            other.levels,
        )


def _leaf(column: pq.ColumnSchema) -> _Leaf:
    logical = json.loads(column.logical_type.to_json())
    for detail in ("is_from_converted_type", "force_set_converted_type"):
        logical.pop(detail, None)
    if logical in ({"Type": "Int", "bitWidth": bits, "isSigned": True} for bits in (32, 64)):
        logical = {"Type": "None"}  # what the physical type says anyway
    length = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    levels = (column.max_definition_level, column.max_repetition_level)
    return _Leaf(column.path, column.physical_type, logical, length, levels)


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


#: How Spark and Hugging Face call the types of columns that are added.
_TYPE_NAMES = {pa.string(): ("string", "string"), pa.float64(): ("double", "float64")}


def _known_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns to add; what is null in every row is a string."""
    return [pa.field(one.name, one.type if one.type in _TYPE_NAMES else pa.string()) for one in schema]


def _with_extra(schema: pa.Schema, fields: Sequence[pa.Field]) -> pa.Schema:
    """The schema with columns added, also to Spark's and Hugging Face's copies in its metadata."""
    for one in fields:
        if one.name in schema.names:
            raise UserError(f"the input has a column {one.name} already: leave out --emit-hashes or rename the column")
        schema = schema.append(one)
    metadata = dict(schema.metadata or {})
    named = {one.name: _TYPE_NAMES[one.type] for one in fields}
    if named and _SPARK_SCHEMA in metadata:
        # Spark believes this rather than the file's own schema.
        spark = json.loads(metadata[_SPARK_SCHEMA])
        spark["fields"] += [
            {"name": name, "type": kind, "nullable": True, "metadata": {}} for name, (kind, _) in named.items()
        ]
        metadata[_SPARK_SCHEMA] = json.dumps(spark, separators=(",", ":")).encode()
    if named and _HUGGING_FACE in metadata:
        features = json.loads(metadata[_HUGGING_FACE])
        if isinstance(features.get("info", {}).get("features"), dict):
            features["info"]["features"] |= {
                name: {"dtype": kind, "_type": "Value"} for name, (_, kind) in named.items()
            }
            metadata[_HUGGING_FACE] = json.dumps(features).encode()
    return schema.with_metadata(metadata or None)


# JSON lines --------------------------------------------------------------------------


def _copy_jsonl(
    pieces: Sequence[Piece], kept: Sequence[np.ndarray], out_uri: str, extra: Sequence[pa.Table] | None
) -> int:
    output: pa.NativeFile | None = None
    with ExitStack() as stack:
        for index, piece in enumerate(pieces):
            more = None if extra is None else extra[index].to_pylist()
            for text in _kept_lines(piece, kept[index], more):
                if output is None:
                    output = stack.enter_context(storage.open_output(out_uri))
                output.write(text)
    return 0 if output is None else _size_of(out_uri)


def _kept_lines(piece: Piece, kept: np.ndarray, extra: list[dict[str, Any]] | None) -> Iterator[bytes]:
    """The kept lines, many at a time. Raises CopyMismatch where rows and lines do not match."""
    row = 0
    for block, starts, ends in _line_blocks(piece):
        is_row = _are_rows(piece, block, starts, ends)
        rows = int(is_row.sum())
        if row + rows > piece.rows:
            raise CopyMismatch(f"{piece.uri}: more than the {piece.rows} rows from byte {piece.start}")
        take = is_row.copy()
        take[is_row] = kept[row : row + rows]
        view = memoryview(block)
        if extra is None:
            # Neighbours go as one stretch of bytes: where `take` turns true and where it turns false again.
            turns = np.flatnonzero(np.diff(np.concatenate([[0], take.view(np.int8), [0]])))
            lines: list[bytes | memoryview] = [
                view[starts[a] : ends[b - 1]] for a, b in zip(turns[::2], turns[1::2], strict=True)
            ]
        else:
            numbers = row + np.cumsum(is_row) - 1
            lines = [_with_fields(bytes(view[starts[i] : ends[i]]), extra[numbers[i]]) for i in np.flatnonzero(take)]
        if lines:
            yield b"".join(lines)
        row += rows
    if row != piece.rows:
        raise CopyMismatch(f"{piece.uri}: {row} rows from byte {piece.start} where Spark read {piece.rows}")


def _are_rows(piece: Piece, block: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(lines,) bool, false for lines of white space. Raises CopyMismatch where a line can be several rows."""
    if block.count(b"\r", 0, ends[-1]) != block.count(b"\r\n", 0, ends[-1]):
        raise CopyMismatch(f"{piece.uri}: carriage returns inside of lines, which Hadoop takes for line ends")
    first = np.frombuffer(block, np.uint8)[starts]
    is_row = np.ones(len(starts), bool)
    arrays = bool((first == ord("[")).any())
    for line in np.flatnonzero(np.isin(first, np.frombuffer(_JSON_SPACE, np.uint8))):
        text = block[starts[line] : ends[line]].lstrip(_JSON_SPACE)
        is_row[line] = bool(text)
        arrays |= text.startswith(b"[")
    if arrays:
        raise CopyMismatch(f"{piece.uri}: a line holds a JSON array, whose elements are rows to Spark")
    return is_row


def _line_blocks(piece: Piece) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
    """The piece's lines: blocks of bytes with the starts and ends (past the line feed) of lines in them."""
    uri = storage.from_spark(piece.uri)
    opened, path = storage.open_fs(uri)
    ending = PurePosixPath(path).suffix
    limit: float = piece.start + piece.length
    if ending not in _CODECS:
        with opened.open_input_file(path) as stream:
            stream.seek(piece.start)
            yield from _lines(piece, stream, limit)
        return
    codec = _CODECS[ending]
    if codec is None or piece.start > 0 or limit < _size_of(uri):
        raise CopyMismatch(f"{piece.uri}: compressed in a way that only Hadoop reads")
    try:
        with opened.open_input_stream(path, compression=codec) as stream:
            yield from _lines(piece, stream, float("inf"))
    except OSError as error:  # Hadoop's .lz4, for one, is not everybody else's
        raise CopyMismatch(f"{piece.uri}: does not decompress: {error}") from error


def _lines(piece: Piece, stream: pa.NativeFile, limit: float) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
    """As ``_line_blocks``, from a stream at the piece's start; the last line begins by byte ``limit``."""
    position = piece.start  # in the file, of the block's first byte
    skipping = piece.start > 0  # the line under way, or one that begins here, is the previous piece's
    rest, wanted, at_end = b"", _BLOCK_BYTES, False
    while not at_end and position <= limit:
        data = stream.read(wanted)
        at_end = not data
        block = rest + data if rest else data
        if skipping:
            skipping = b"\n" not in block
            # A carriage return at the block's end may have its line feed in the next.
            cut = len(block) - block.endswith(b"\r") if skipping else block.index(b"\n") + 1
            if b"\r" in block[:cut].removesuffix(b"\r\n"):
                raise CopyMismatch(f"{piece.uri}: carriage returns inside of lines")
            position, block = position + cut, block[cut:]
            if skipping:
                rest = block
                continue
        if not block:
            rest = block
            continue
        if at_end and not block.endswith(b"\n"):
            block += b"\n"
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        if not len(ends):
            # A line longer than the block: reading more each time keeps the joining linear.
            rest, wanted = block, max(_BLOCK_BYTES, 2 * len(block))
            continue
        starts = np.concatenate([[0], ends[:-1]])
        owned = int(np.searchsorted(starts, limit - position, side="right"))
        if position == 0 and block.startswith(b"\xef\xbb\xbf"):
            starts[0] = 3  # a byte order mark belongs to a file, not to its first line
        if owned:
            yield block, starts[:owned], ends[:owned]
        if owned < len(starts):
            return
        rest, wanted = block[ends[-1] :], _BLOCK_BYTES
        position += int(ends[-1])


def _with_fields(line: bytes, fields: dict[str, Any]) -> bytes:
    """A line with fields put at the end of its object, which is otherwise left as it is written.

    A line that is no object has no fields to Spark either and stays as it is. Raises UserError if the object
    has one of the fields already.
    """
    text = line.rstrip(_JSON_SPACE)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return line
    if not isinstance(row, dict):
        return line
    for name in fields:
        if name in row:
            raise UserError(f"the input has a field {name} already: leave out --emit-hashes or rename the field")
    added = json.dumps(fields, ensure_ascii=False)[1:-1].encode("utf-8")
    return text[:-1] + (b", " if row else b"") + added + b"}" + line[len(text) :]
