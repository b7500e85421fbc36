"""Hashes in hexadecimal as the bytes that ``parts.pack_codes`` takes: NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgdedup_spark.kernels.arrow import fixed_bytes
from imgdedup_spark.kernels.hamming.parts import CONTEXT_BYTES

Bytes = npt.NDArray[np.uint8]
#: The value of each lower-case hex digit.
_VALUES = np.zeros(256, np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def codes_of(hashes: Sequence[pa.Array], digits: Sequence[int], images: int) -> Bytes:
    """(n, code bytes): of each row its images' hashes, each right-aligned in whole bytes, of one method after another.

    Args:
        hashes: hex, one array a method: the hashes of a row's images one after another.
        digits: of one image's hash, by method.
    """
    made = []
    for column, count in zip(hashes, digits, strict=True):
        text = fixed_bytes(column, count * images).reshape(len(column), images, count)
        if count % 2:
            text = np.concatenate([np.full((len(column), images, 1), ord("0"), np.uint8), text], axis=2)
        nibbles = _VALUES[text]
        made.append((nibbles[..., ::2] << 4 | nibbles[..., 1::2]).reshape(len(column), -1))
    return np.concatenate(made, axis=1)


def texts_of(column: pa.Array) -> Bytes:
    """(n, CONTEXT_BYTES): MD5 of texts, from hex; all ones without a text."""
    filled = column.fill_null("f" * 2 * CONTEXT_BYTES)
    return codes_of([filled], [2 * CONTEXT_BYTES], 1)
