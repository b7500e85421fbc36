"""Narrow columns of Parquet files, read by the driver: no Spark job for what is a few megabytes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import ByteType, IntegerType, LongType, ShortType, StringType, StructField

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.files.parquet import row_groups
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.read.by_workers import encoded_place
from imgdedup_spark.read.source import PLACE, FileState

# Of which there is one way to read them.
_TYPES = (StringType, ByteType, ShortType, IntegerType, LongType)
#: Files that are read here, one after another, before Spark's many readers would have been faster.
MOST_FILES = 64
_BATCH_ROWS = 1 << 16
_PLACE_BYTES = 28  # of a row's place, beside the file's name
# Spark cuts no file into smaller parts unless it is told to. Row groups together of no more than that are one part, so
# that what goes by parts (the order of a scan, files that are written) finds about those that Spark would make.
_PART_BYTES = 4 << 20


def read_here(files: Sequence[FileState], fields: Sequence[StructField], most_bytes: int) -> pa.Table | None:
    """``PLACE`` and some columns of all rows of some files, as Spark would read them; None where that might be
    something else, or more files or bytes.

    Args:
        files: with URIs as Spark writes them.
    """
    # A length that is noted beside a type has Spark fill strings up.
    if len(files) > MOST_FILES or not all(type(one.dataType) in _TYPES and not one.metadata for one in fields):
        return None
    schema = pa.schema([pa.field(one.name, to_arrow_type(one.dataType)) for one in fields])
    tables: list[pa.Table] = []
    for state in files:
        try:
            table = _read(state, schema, most_bytes - sum(one.nbytes for one in tables))
        except (UserError, *BROKEN):
            return None
        if table is None:
            return None
        tables.append(table)
    return pa.concat_tables(tables) if tables else None


def _read(state: FileState, schema: pa.Schema, most_bytes: int) -> pa.Table | None:
    uri = storage.from_spark(state.uri)
    storage.check_workers(uri)
    opened, path = storage.open_fs(uri)
    tables, size = [schema.empty_table()], 0
    with opened.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
        found = {field.name: field.type for field in file.schema_arrow}
        if not all(_is_same(found.get(field.name), field.type) for field in schema):
            return None
        for batch in file.iter_batches(_BATCH_ROWS, columns=schema.names):
            tables.append(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
            # What repeats is smaller in a file; and each row will have its file's name.
            size += tables[-1].nbytes + len(batch) * (len(state.uri) + _PLACE_BYTES)
            if size > most_bytes:
                return None
        place = _place(state, row_groups(file.metadata))
    return pa.concat_tables(tables).append_column(PLACE, place)


def _is_same(found: pa.DataType | None, wanted: pa.DataType) -> bool:
    return found == wanted or (found == pa.large_string() and wanted == pa.string())


def _place(state: FileState, groups: Sequence[tuple[int, int, int]]) -> pa.StructArray:
    """Args:
    groups: of each its first row, rows and bytes.
    """
    places, first, start = [encoded_place(state.input, state.uri, 0, 0, range(0))], 0, 0
    parts = list(grouped(groups, lambda group: group[2], _PART_BYTES))
    for number, part in enumerate(parts, 1):
        rows, size = (sum(values) for values in zip(*(group[1:] for group in part), strict=True))
        if number == len(parts):  # all else that is in the file, for Spark goes by the size of the whole
            size = state.size - start
        places.append(encoded_place(state.input, state.uri, start, size, range(first, first + rows)))
        first, start = first + rows, start + size
    return pa.concat_arrays(places)
