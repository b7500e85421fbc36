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
    notes = {footer.note for footer in footers}
    if len(notes) != 1:
        return None
    [note] = notes
    if note is None:
        return _struct(next(iter(footers)).schema) if all(footer.is_plain for footer in footers) else None
    # Types of a user's own are a user's own modules; one of a bounded length Spark finds, and may not be told.
    return None if b'"udt"' in note or b"char(" in note else _of_json(note)


def _of_json(note: bytes) -> StructType | None:
    try:
        return StructType.fromJson(json.loads(note))
    except Exception:  # of another Spark's making, which this one's Java may know better than its Python
        return None


def _struct(fields: pa.Schema | pa.StructType) -> StructType | None:
    kinds = [(field.name, _type(field.type)) for field in fields]
    known = [StructField(name, kind) for name, kind in kinds if kind is not None]
    # A value of many types is stored as such a struct, as which Arrow may show it.
    is_variant = {"metadata", "value"} <= {name for name, _ in kinds}
    return StructType(known) if len(known) == len(kinds) and not is_variant else None


def _type(kind: pa.DataType) -> DataType | None:
    return _struct(kind) if pa.types.is_struct(kind) else _TYPES.get(kind)
