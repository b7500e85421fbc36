"""Narrow columns of Parquet files, read by the driver: no Spark job for what is a few megabytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import ByteType, IntegerType, LongType, ShortType, StringType, StructField

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.read.by_workers import FILE_PLACE
from imgdedup_spark.read.source import PLACE, FileState

# Of which there is one way to read them.
_TYPES = (StringType, ByteType, ShortType, IntegerType, LongType)


def read_here(files: Sequence[FileState], fields: Sequence[StructField], most_bytes: int) -> pa.Table | None:
    """``PLACE`` and some columns of all rows of some files, as Spark would read them; None where that might be
    something else, or more bytes.

    Args:
        files: with URIs as Spark writes them.
    """
    # A length that is noted beside a type has Spark fill strings up.
    if not all(type(one.dataType) in _TYPES and not one.metadata for one in fields):
        return None
    schema = pa.schema([pa.field(one.name, to_arrow_type(one.dataType)) for one in fields])
    tables: list[pa.Table] = []
    for state in files:
        try:
            table = _read(storage.from_spark(state.uri), schema, most_bytes - sum(one.nbytes for one in tables))
        except (UserError, *BROKEN):
            return None
        if table is None:
            return None
        tables.append(table.append_column(PLACE, _place(state, len(table))))
    return pa.concat_tables(tables) if tables else None


def _read(uri: str, schema: pa.Schema, most_bytes: int) -> pa.Table | None:
    storage.check_workers(uri)
    opened, path = storage.open_fs(uri)
    with opened.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
        found = {field.name: field.type for field in file.schema_arrow}
        if not all(_is_same(found.get(field.name), field.type) for field in schema):
            return None
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema in schema.names)
        return file.read(schema.names).select(schema.names).cast(schema) if size <= most_bytes else None


def _is_same(found: pa.DataType | None, wanted: pa.DataType) -> bool:
    return found == wanted or (found == pa.large_string() and wanted == pa.string())


def _place(state: FileState, rows: int) -> pa.StructArray:
    parts = [pa.scalar(state.input, pa.int32()), state.uri, pa.scalar(0, pa.int64()), pa.scalar(state.size, pa.int64())]
    arrays = [pa.repeat(part, rows) for part in parts]
    return pa.StructArray.from_arrays([*arrays, pa.array(np.arange(rows))], FILE_PLACE.names)
