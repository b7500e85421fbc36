"""Embeddings as columns: ready ones become ``vector``, and ``vector`` becomes arrays that other tools can read.

``vector`` is binary: the embeddings of a row's images, each of length 1, as little-endian float32, one after another;
empty for a row without images, null where one of them cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, FloatType, StructField, StructType

from imgdedup_spark.kernels.arrow import binary_to_lists, lists_to_binary
from imgdedup_spark.kernels.encoders.embedder import normalised

ARRAY = ArrayType(FloatType())


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


def to_arrays(frame: DataFrame) -> DataFrame:
    """The frame with ``vector`` replaced by ``embedding``, array<float>; null where there is nothing to compare."""
    return _converted(frame, "vector", StructField("embedding", ARRAY), binary_to_lists)


def to_vectors(frame: DataFrame) -> DataFrame:
    """The other way round."""
    return _converted(frame, "embedding", StructField("vector", BinaryType()), lists_to_binary)


def _converted(frame, old, new, convert):  # type: ignore[no-untyped-def]
    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            place = batch.schema.get_field_index(old)
            names = [new.name if name == old else name for name in batch.schema.names]
            columns = [convert(one) if number == place else one for number, one in enumerate(batch.columns)]
            yield pa.RecordBatch.from_arrays(columns, names)

    fields = [new if field.name == old else field for field in frame.schema.fields]
    return frame.mapInArrow(work, StructType(fields))
