"""Packed blocks: many values in one Spark row, so that the JVM moves a few large values instead of millions of rows.

A block is two or more binary columns of equal row counts. What makes and reads them, and no more: workers that hash
pictures load this, and need no compiler for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


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
