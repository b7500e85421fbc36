"""Packed blocks: many values in one Spark row, so that the JVM moves a few large values instead of millions of rows.

A block is two or more binary columns of equal row counts. What makes and reads them, and no more: workers that hash
pictures load this, and need no compiler for it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgdedup_spark.kernels.cosine.rows import Float32

# Hashes in a block: 8 MB of 64-bit hashes. Few enough for any heap, enough that a row's overhead vanishes.
BLOCK_HASHES = 1_000_000


def fixed_bytes(column: Any, size: int) -> npt.NDArray[np.uint8]:
    """An Arrow binary column whose values all have ``size`` bytes, as ``(n, size)`` uint8."""
    fixed = column.cast(pa.binary(size))
    data = np.frombuffer(fixed.buffers()[1], dtype=np.uint8)
    return data[fixed.offset * size : (fixed.offset + len(fixed)) * size].reshape(len(fixed), size)


def record_batch(**columns: Any) -> Any:
    """An Arrow batch of these columns: NumPy arrays, or lists of bytes for binary ones."""
    return pa.RecordBatch.from_arrays([pa.array(values) for values in columns.values()], names=list(columns))


def block_batch(**columns: Any) -> Any:
    """An Arrow batch of one row: arrays become binary values, integers stay numbers."""
    arrays = [
        pa.array([value.tobytes()], type=pa.binary())
        if isinstance(value, np.ndarray)
        else pa.array([value], type=pa.int32())
        for value in columns.values()
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def values(batch: Any, column: str, row: int, dtype: Any) -> npt.NDArray[Any]:
    """The array in one binary value of a block; it shares the batch's memory. Empty for null."""
    scalar = batch.column(column)[row]
    if not scalar.is_valid:
        return np.zeros(0, dtype=dtype)
    return np.frombuffer(scalar.as_buffer(), dtype=dtype)


def floats(column: pa.Array, dims: int) -> Float32:
    """A binary column without nulls as an (n, dims) float32 view."""
    _, offsets, data = column.buffers()
    wide = pa.types.is_large_binary(column.type)
    first = np.frombuffer(offsets, np.int64 if wide else np.int32)[column.offset] if len(column) else 0
    flat = np.frombuffer(data or b"", "<f4", len(column) * dims, int(first)) if dims * len(column) else np.zeros(0)
    return flat.astype(np.float32, copy=False).reshape(len(column), dims)


def slices_of(array: pa.Array) -> list[memoryview | None]:
    """The bytes of each value of a binary or string array, without copying; None for nulls."""
    if len(array) == 0:
        return []
    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64 if wide else np.int32)
    bounds = offsets[array.offset : array.offset + len(array) + 1].tolist()
    # Arrow's views are of signed bytes; unsigned ones compare and index as bytes objects do.
    view = memoryview(data if data is not None else b"").cast("B").toreadonly()
    slices: list[memoryview | None] = [view[start:end] for start, end in itertools.pairwise(bounds)]
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        slices = [piece if ok else None for piece, ok in zip(slices, valid, strict=True)]
    return slices


def list_of(column: pa.Array) -> pa.Array:
    """Binary → list of float32, without a copy of the numbers."""
    if not len(column):
        return pa.array([], pa.list_(pa.float32()))
    _, offsets, data = column.buffers()
    wide = pa.types.is_large_binary(column.type)
    places = np.frombuffer(offsets, np.int64 if wide else np.int32)[column.offset : column.offset + len(column) + 1]
    numbers = pa.array(np.frombuffer(data, "<f4", places[-1] // 4)) if data else pa.array([], pa.float32())
    nothing = places[1:] == places[:-1]
    return pa.ListArray.from_arrays(pa.array((places // 4).astype(np.int32)), numbers, mask=pa.array(nothing))


def bytes_of(column: pa.Array) -> pa.Array:
    """List of float32 → binary; empty where it is null."""
    lists = column.fill_null([]) if column.null_count else column
    places = np.asarray(lists.offsets).astype(np.int32) * 4
    numbers = np.ascontiguousarray(lists.values.to_numpy(zero_copy_only=False), "<f4")
    return pa.Array.from_buffers(pa.binary(), len(lists), [None, pa.py_buffer(places), pa.py_buffer(numbers)])
