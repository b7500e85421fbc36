"""Bits of packed words, counted and permuted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.hamming.bands import Words

# Wider hashes are permuted bit by bit: the tables for their bytes would not fit the cache.
_TABLE_WORDS = 8


def bit_counts(words: Words) -> npt.NDArray[np.int64]:
    """Set bits of each word, in NumPy 1 as well (``bitwise_count`` came with NumPy 2)."""
    as_bytes = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 8)
    return np.unpackbits(as_bytes, axis=-1).sum(axis=-1, dtype=np.int64)


def permute_bits(words: Words, order: Sequence[int]) -> Words:
    """Bit ``i`` of the result is bit ``order[i]`` of the words: ``(n, width)``, bit 0 of word 0 the first."""
    if list(order) == list(range(64 * words.shape[1])):
        return words
    sources = np.asarray(order, dtype=np.int64)
    if words.shape[1] > _TABLE_WORDS:
        return _permute_singly(np.ascontiguousarray(words), sources)
    # For every byte and value of it, the bits it contributes.
    width = words.shape[1]
    tables = np.zeros((8 * width, 256, width), dtype=np.uint64)
    values = np.arange(256, dtype=np.uint64)
    for target, source in enumerate(sources.tolist()):
        bit = (values >> np.uint64(source % 8)) & np.uint64(1)
        tables[source // 8, :, target // 64] |= bit << np.uint64(target % 64)
    return _permute_by_tables(np.ascontiguousarray(words), tables)


def load_compiled() -> None:
    """Calls something small that is compiled: a process's first such call takes some 0.2 s, which are to be had while
    there is nothing else to do."""
    permute_bits(np.zeros((1, 1), dtype=np.uint64), range(63, -1, -1))


@compiled
def _permute_by_tables(words: Words, tables: Words) -> Words:
    out = np.zeros_like(words)
    for i in range(words.shape[0]):
        for byte in range(8 * words.shape[1]):
            value = (words[i, byte // 8] >> np.uint64(8 * (byte % 8))) & np.uint64(255)
            for w in range(words.shape[1]):
                out[i, w] |= tables[byte, value, w]
    return out


@compiled
def _permute_singly(words: Words, sources: npt.NDArray[np.int64]) -> Words:
    out = np.zeros_like(words)
    for i in range(words.shape[0]):
        for target in range(sources.size):
            source = sources[target]
            bit = (words[i, source // 64] >> np.uint64(source % 64)) & np.uint64(1)
            out[i, target // 64] |= bit << np.uint64(target % 64)
    return out
