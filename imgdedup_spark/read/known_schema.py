"""The schema that Spark would infer of Parquet files, where their footers tell it: a Spark job less, for no plain type
is another one to Spark than to Arrow."""

from __future__ import annotations

import json
from collections.abc import Collection

import pyarrow as pa
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructField,
    StructType,
)

from imgdedup_spark.files.parquet_schema import SPARK_SCHEMA
from imgdedup_spark.files.unite import Footer

_TYPES: dict[pa.DataType, DataType] = {
    pa.string(): StringType(),
    pa.large_string(): StringType(),
    pa.binary(): BinaryType(),
    pa.large_binary(): BinaryType(),
    pa.bool_(): BooleanType(),
    pa.int8(): ByteType(),
    pa.int16(): ShortType(),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.float32(): FloatType(),
    pa.float64(): DoubleType(),
}


def known_schema(footers: Collection[Footer]) -> StructType | None:
    """What Spark would infer of files of one Arrow schema; None where it may be something else than what is told here.

    Spark believes what a Spark has written of its schema, of one of the files.
    """
    told = {(footer.schema.metadata or {}).get(SPARK_SCHEMA) for footer in footers}
    if len(told) != 1 or any(footer.has_enums for footer in footers):
        return None
    [written] = told
    if written is None:
        return _struct(next(iter(footers)).schema)
    # Types of a user's own are a user's own modules.
    return None if b'"udt"' in written else _of_json(written)


def _of_json(written: bytes) -> StructType | None:
    try:
        return StructType.fromJson(json.loads(written))
    except Exception:  # of another Spark's making, which this one's Java may know better than its Python
        return None


def _struct(fields: pa.Schema | pa.StructType) -> StructType | None:
    kinds = [(field.name, _type(field.type)) for field in fields]
    known = [StructField(name, kind) for name, kind in kinds if kind is not None]
    return StructType(known) if len(known) == len(kinds) else None


def _type(kind: pa.DataType) -> DataType | None:
    return _struct(kind) if pa.types.is_struct(kind) else _TYPES.get(kind)
