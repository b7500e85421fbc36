"""Embeddings as columns: ready ones become ``vector``, and ``vector`` becomes arrays that other tools can read.

``vector`` is binary: the embeddings of a row's images, each of length 1, as little-endian float32, one after another;
empty for a row without images, null where one of them cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    FloatType,
    NullType,
    NumericType,
    StructField,
    StructType,
)

from imgdedup_spark.config import DedupConfig
from imgdedup_spark.embeddings.models import normalised
from imgdedup_spark.errors import UserError

VECTOR_TYPES = "an array of numbers, or a vector of Spark ML"
ARRAY = ArrayType(FloatType())


def is_vector_type(kind: DataType) -> bool:
    if isinstance(kind, ArrayType):
        return isinstance(kind.elementType, NumericType | NullType)
    # A column that is null in every row is read as NullType from JSON lines: rows without embeddings.
    return isinstance(kind, NullType) or _is_ml_vector(kind)


def _is_ml_vector(kind: DataType) -> bool:
    # By name, because importing pyspark.ml takes a second.
    return type(kind).__name__ == "VectorUDT"


def as_numbers(column: Column, kind: DataType) -> Column:
    """A column of ``VECTOR_TYPES`` as array<float> or array<double>."""
    if _is_ml_vector(kind):
        from pyspark.ml.functions import vector_to_array

        return vector_to_array(column)
    is_float = isinstance(kind, ArrayType) and isinstance(kind.elementType, FloatType)
    return column if is_float else column.cast("array<double>")


def numbers_in_vector() -> Column:
    """Numbers in one image's embedding, from the columns of a fingerprint."""
    return F.expr("length(vector) div 4 div images")


def read_ready(batch: pa.RecordBatch) -> tuple[pa.Array, list[str | None]]:
    """The column ``ready`` (lists of numbers) as vectors; and for each row what is wrong with it, if anything is."""
    column = batch.column("ready")
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    vectors: list[bytes | None] = [b""] * len(column)
    problems: list[str | None] = [None] * len(column)
    for length in np.unique(lengths[valid]):
        rows = np.flatnonzero(valid & (lengths == length))
        # A null among the numbers becomes NaN.
        flat = column.take(pa.array(rows)).flatten().to_numpy(zero_copy_only=False)
        numbers = flat.astype(np.float64).reshape(len(rows), length)
        finite = np.isfinite(numbers).all(axis=1)
        units = normalised(numbers)
        for row, unit, is_finite in zip(rows, units, finite, strict=True):
            if unit.any():
                vectors[row] = unit.tobytes()
                continue
            vectors[row] = None
            some = "nothing but zeros, which have no direction" if is_finite else "NaN, infinite or missing numbers"
            problems[row] = f"the vector has {some if length else 'no numbers'}"
    return pa.array(vectors, pa.binary()), problems


def measure_vectors(prints: DataFrame, config: DedupConfig, known: tuple[int, int]) -> tuple[DataFrame, DedupConfig]:
    """Finds out how long embeddings are, and marks those of another length than most as errors.

    Args:
        prints: fingerprints; read several times.
        known: fewest and most numbers of the references' embeddings; (0, 0) without any.

    Raises:
        UserError: none of them can be compared with the references.
    """
    usable = prints.where("images > 0 and vector is not null")
    counts = {
        row["numbers"]: row["count"] for row in usable.groupBy(numbers_in_vector().alias("numbers")).count().collect()
    }
    most = known[1] or max(counts, key=lambda numbers: (counts[numbers], numbers), default=0)
    if known[0] != known[1] or (known[1] and counts and known[1] not in counts):
        of = f"--embedding-col {config.embedding_col}" if config.embedding_col else f"--model {config.model}"
        what = f"{known[0]} to {known[1]}" if known[0] != known[1] else str(known[1])
        raise UserError(
            f"{of}: embeddings of {', '.join(map(str, sorted(counts)))} numbers, and those to compare them with have "
            f"{what}; they must come from the same model"
        )
    if counts.keys() - {most}:
        other = (F.col("images") > 0) & F.col("vector").isNotNull() & (numbers_in_vector() != most)
        message = F.concat(F.lit("the vector has "), numbers_in_vector(), F.lit(f" numbers and others have {most}"))
        error = F.struct(F.lit(0).alias("position"), F.lit("bad_vector").alias("error"), message.alias("message"))
        errors = F.when(other, F.array(error).cast(prints.schema["errors"].dataType)).otherwise(F.col("errors"))
        prints = prints.withColumn("errors", errors)
        prints = prints.withColumn("vector", F.when(F.size("errors") == 0, F.col("vector")))
    return prints, replace(config, dimensions=most)


def to_arrays(frame: DataFrame) -> DataFrame:
    """The frame with ``vector`` replaced by ``embedding``, array<float>; null where there is nothing to compare."""
    return _converted(frame, "vector", StructField("embedding", ARRAY), _list_of)


def to_vectors(frame: DataFrame) -> DataFrame:
    """The other way round."""
    return _converted(frame, "embedding", StructField("vector", BinaryType()), _bytes_of)


def _converted(frame, old, new, convert):  # type: ignore[no-untyped-def]
    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            place = batch.schema.get_field_index(old)
            names = [new.name if name == old else name for name in batch.schema.names]
            columns = [convert(one) if number == place else one for number, one in enumerate(batch.columns)]
            yield pa.RecordBatch.from_arrays(columns, names)

    fields = [new if field.name == old else field for field in frame.schema.fields]
    return frame.mapInArrow(work, StructType(fields))


def _list_of(column: pa.Array) -> pa.Array:
    """Binary → list of float32, without a copy of the numbers."""
    if not len(column):
        return pa.array([], pa.list_(pa.float32()))
    _, offsets, data = column.buffers()
    wide = pa.types.is_large_binary(column.type)
    places = np.frombuffer(offsets, np.int64 if wide else np.int32)[column.offset : column.offset + len(column) + 1]
    numbers = pa.array(np.frombuffer(data, "<f4", places[-1] // 4)) if data else pa.array([], pa.float32())
    nothing = places[1:] == places[:-1]
    return pa.ListArray.from_arrays(pa.array((places // 4).astype(np.int32)), numbers, mask=pa.array(nothing))


def _bytes_of(column: pa.Array) -> pa.Array:
    """List of float32 → binary; empty where it is null."""
    lists = column.fill_null([]) if column.null_count else column
    places = np.asarray(lists.offsets).astype(np.int32) * 4
    numbers = np.ascontiguousarray(lists.values.to_numpy(zero_copy_only=False), "<f4")
    return pa.Array.from_buffers(pa.binary(), len(lists), [None, pa.py_buffer(places), pa.py_buffer(numbers)])
