"""Copies the rows that are kept from shares of Parquet files, without Spark: same values, types, metadata and order.

What the copy cannot carry over faithfully it refuses with ``CopyMismatch``, so that the caller can have Spark write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.errors import CopyMismatch
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet_batches import BoundedFile, fetched_whole
from imgdedup_spark.files.parquet_schema import leaves_of, with_extra, writer_options
from imgdedup_spark.files.shares import Share, grouped, kept_masks
from imgdedup_spark.files.unite import conform
from imgdedup_spark.files.uris import folder_values

# Stored bytes read at once, by the row group's mean row size, and rows, of which many may be stored as one.
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1 << 16
# Decoded bytes of one row group written: large enough for readers, small enough for memory.
_ROW_GROUP_BYTES = 32 << 20
# Row groups up to this size (compressed) are read column by column in one go, which is faster; of files with larger
# ones each column is streamed through a buffer, all buffers together of this size.
_WHOLE_GROUP_BYTES = 16 << 20
_NO_EXTRA = pa.schema([])


def row_groups(metadata: pq.FileMetaData) -> list[tuple[int, int, int]]:
    """(number of its first row in the file, rows, compressed bytes) of each row group."""
    found, first_row = [], 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        size = sum(group.column(number).total_compressed_size for number in range(group.num_columns))
        found.append((first_row, group.num_rows, size))
        first_row += group.num_rows
    return found


def copy_parquet(
    shares: Sequence[Share],
    dropped: Sequence[np.ndarray],
    out_uri: str,
    extra: Sequence[pa.Table] | None = None,
    united: pa.Schema | None = None,
    keys: Sequence[str] = (),
) -> int:
    """Writes the rows of ``shares`` that are not dropped to one file, in order; returns how many.

    Args:
        dropped: for each share the numbers **in the file** of the rows to leave out, in any order.
        out_uri: plain URI. The file appears there whole or not at all; if no row is kept there is none.
        extra: for each share a table of strings and doubles with a row for each row of it, put behind its columns.
        united: the schema that the files' own are brought to, if they differ.
        keys: of folders named ``key=value`` that are columns of ``united``.

    Raises:
        CopyMismatch: the shares do not hold those rows, or they cannot be copied as they are. Nothing is written.
        UserError: the input has a column of the name of one in ``extra``.
    """
    work = [
        (share, mask, extra[index] if extra else pa.table({}))
        for index, (share, mask) in enumerate(zip(shares, kept_masks(shares, dropped), strict=True))
        if mask.any()
    ]
    if work:
        like = work[0][0].uri
        with _refusing(like), storage.open_output(out_uri) as stream:
            file = _open(like)
            more = extra[0].schema if extra else _NO_EXTRA
            schema = with_extra(united or file.schema_arrow, more)
            options = {"compression": "zstd"} if united else writer_options(file, like, more.names)
            with pq.ParquetWriter(stream, schema, **options) as writer:
                kept = _kept_tables(work, file, None if united is None else schema, keys)
                for tables in grouped(kept, lambda table: table.nbytes, _ROW_GROUP_BYTES):
                    table = pa.concat_tables(tables)
                    writer.write_table(table, row_group_size=table.num_rows)
    return sum(int(mask.sum()) for _, mask, _ in work)


def write_alone(table: pa.Table, folder: str, **options: Any) -> None:
    """Writes a table as the only Parquet file of a folder, a plain URI.

    Args:
        options: of ``pq.write_table``.
    """
    with storage.open_output(storage.join(folder, "part-00000.parquet")) as stream:
        pq.write_table(table, stream, **options)


def write_empty_parquet(
    like_uri: str, out_uri: str, extra: pa.Schema = _NO_EXTRA, united: pa.Schema | None = None
) -> None:
    """Writes a file of no rows with the schema and metadata of another; ``extra`` are columns to add.

    Raises:
        CopyMismatch, UserError: as ``copy_parquet``.
    """
    with _refusing(like_uri), storage.open_output(out_uri) as stream:
        file = _open(like_uri)
        schema = with_extra(united or file.schema_arrow, extra)
        pq.ParquetWriter(stream, schema, **({} if united else writer_options(file, like_uri, extra.names))).close()


@contextmanager
def _refusing(uri: str) -> Iterator[None]:
    """Makes what pyarrow cannot do a ``CopyMismatch``."""
    try:
        yield
    except pa.ArrowException as error:
        raise CopyMismatch(f"{uri}: cannot be copied as it is: {error}") from error


def _open_input(uri: str) -> pa.NativeFile:
    opened, path = storage.open_fs(uri)
    return opened.open_input_file(path)


def _open(uri: str) -> BoundedFile:
    stream = _open_input(uri)
    metadata = pq.read_metadata(stream)
    largest = max((size for *_, size in row_groups(metadata)), default=0)
    buffer_bytes = 0 if largest <= _WHOLE_GROUP_BYTES else 1 + _WHOLE_GROUP_BYTES // metadata.num_columns
    # Spark's INT96 is of microseconds, over all years.
    return BoundedFile(
        stream,
        whole=fetched_whole(uri, largest),
        metadata=metadata,
        buffer_size=buffer_bytes,
        coerce_int96_timestamp_unit="us",
    )


def _kept_tables(
    work: Sequence[tuple[Share, np.ndarray, pa.Table]], like: BoundedFile, schema: pa.Schema | None, keys: Sequence[str]
) -> Iterator[pa.Table]:
    """The kept rows of all shares, in tables of bounded size, brought to a schema if one is given. Shares of one file
    open it once."""
    uri, file = work[0][0].uri, like
    for share, kept, extra in work:
        if share.uri != uri:
            uri, file = share.uri, _open(share.uri)
            same = file.schema_arrow.equals(like.schema_arrow) and leaves_of(file.schema) == leaves_of(like.schema)
            if schema is None and not same:
                raise CopyMismatch(f"{uri}: its columns differ from those of the files before it")
        groups = [
            (index, first_row - share.first_row, rows)
            for index, (first_row, rows, _) in enumerate(row_groups(file.metadata))
            if share.first_row <= first_row < share.first_row + share.rows
        ]
        if not groups or groups[0][1] or groups[-1][1] + groups[-1][2] != share.rows:
            raise CopyMismatch(f"{uri}: no row groups hold the {share.rows} rows from row {share.first_row}")
        for index, row, rows in groups:
            if kept[row : row + rows].any():
                for table in _kept_batches(file, index, kept[row:], extra.slice(row)):
                    yield table if schema is None else conform(table, schema, folder_values(uri, keys))


def _kept_batches(file: BoundedFile, group: int, kept: np.ndarray, extra: pa.Table) -> Iterator[pa.Table]:
    """The kept rows of a row group; ``kept`` and ``extra`` begin at its first row."""
    about, row = file.metadata.row_group(group), 0
    rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * about.num_rows // max(1, about.total_byte_size)))
    for batch in file.bounded_batches(group, rows):
        table = pa.Table.from_batches([batch])
        for name in extra.column_names:
            table = table.append_column(name, extra[name].slice(row, len(batch)))
        mask = kept[row : row + len(batch)]
        row += len(batch)
        yield table if mask.all() else _filtered(table, mask)


def _filtered(table: pa.Table, mask: np.ndarray) -> pa.Table:
    try:
        return table.filter(pa.array(mask))
    except pa.ArrowNotImplementedError:
        # Views cannot be filtered, but sliced: where the mask turns true, and where it turns false again.
        turns = np.flatnonzero(np.diff(np.concatenate([[0], mask.view(np.int8), [0]])))
        runs = zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True)
        return pa.concat_tables([table.slice(0, 0), *[table.slice(start, end - start) for start, end in runs]])
