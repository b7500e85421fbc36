"""Binary columns of Arrow as NumPy arrays, and packed blocks: many values in one Spark row, so that the JVM moves a few
large values instead of millions of rows.

A block is a row of two or more binary values, each an array. (Workers that hash pictures load this module: it must not
bring the compiler with it.)
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Hashes in a block: 8 MB of 64-bit hashes. Few enough for any heap, enough that a row's overhead vanishes.
BLOCK_HASHES = 1_000_000


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


def binary_parts(column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """A binary or string column without a copy: (n + 1,) where values begin and end, and the bytes that they lie in."""
    if not len(column):  # Arrow may leave out the buffers
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    wide = pa.types.is_large_binary(column.type) or pa.types.is_large_string(column.type)
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int64 if wide else np.int32)
    return bounds[column.offset : column.offset + len(column) + 1], np.frombuffer(data or b"", np.uint8)


def fixed_bytes(column: pa.Array, size: int) -> npt.NDArray[np.uint8]:
    """A binary column whose values all have ``size`` bytes, as an ``(n, size)`` uint8 view."""
    bounds, data = binary_parts(column)
    if not (np.diff(bounds) == size).all():
        raise ValueError(f"a value has not the {size} bytes that all should have")
    return data[bounds[0] : bounds[-1]].reshape(len(column), size)


def floats(column: pa.Array, dims: int) -> npt.NDArray[np.float32]:
    """A binary column without nulls as an (n, dims) float32 view."""
    return fixed_bytes(column, 4 * dims).view("<f4").astype(np.float32, copy=False)


def slices_of(column: pa.Array) -> list[memoryview | None]:
    """The bytes of each value of a binary or string column, without a copy; None for nulls."""
    bounds, data = binary_parts(column)
    view = memoryview(data.data).toreadonly()
    slices: list[memoryview | None] = [view[start:end] for start, end in itertools.pairwise(bounds.tolist())]
    if column.null_count:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        slices = [piece if ok else None for piece, ok in zip(slices, valid, strict=True)]
    return slices


def binary_to_lists(column: pa.Array) -> pa.Array:
    """Binary → list of float32, without a copy of the numbers; null where there are none."""
    bounds, data = binary_parts(column)
    numbers = pa.array(data[bounds[0] : bounds[-1]].view("<f4"))
    starts = pa.array(((bounds - bounds[0]) // 4).astype(np.int32))
    return pa.ListArray.from_arrays(starts, numbers, mask=pa.array(bounds[1:] == bounds[:-1]))


def lists_to_binary(column: pa.Array) -> pa.Array:
    """List of float32 → binary; empty where it is null."""
    lists = column.fill_null([]) if column.null_count else column
    places = np.asarray(lists.offsets).astype(np.int32) * 4
    numbers = np.ascontiguousarray(lists.values.to_numpy(zero_copy_only=False), "<f4")
    return pa.Array.from_buffers(pa.binary(), len(lists), [None, pa.py_buffer(places), pa.py_buffer(numbers)])
