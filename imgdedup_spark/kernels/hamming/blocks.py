"""Packed blocks of the near-duplicate search: ``ranks`` (int64 each) and ``words`` (see ``table``, row after
row). Everything here runs inside ``mapInArrow``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.arrow import BLOCK_HASHES, block_batch, fixed_bytes, record_batch, values
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.parts import CONTEXT_BYTES
from imgdedup_spark.kernels.hamming.table import Matcher

# Decisions in a block: they become rows of the JVM again, so more blocks than cores should come of a large table.
DECISION_HASHES = 262_144
Ranks = npt.NDArray[np.int64]
TABLE_SCHEMA = "block int, ranks binary, words binary"
DECISION_SCHEMA = "rank bigint, keeper bigint, is_reference boolean, distance int"
DECISION_BLOCK_SCHEMA = "ranks binary, keepers binary, is_reference binary, distances binary"


def batch_to_table(matcher: Matcher, batch: Any) -> tuple[Ranks, Words]:
    """The ranks and the table of one Arrow batch with the columns ``matcher.columns`` (contexts as digests)."""
    code_bytes = sum(part.bytes for part in matcher.parts)
    codes = fixed_bytes(batch.column("code"), code_bytes)
    contexts = fixed_bytes(batch.column("context"), CONTEXT_BYTES) if matcher.contexts else None
    numbers = batch.column("number").to_numpy(zero_copy_only=False) if len(matcher.barred) else None
    return batch.column("rank").to_numpy(zero_copy_only=False), matcher.pack(codes, contexts, numbers)


def tables(matcher: Matcher, batches: Iterator[Any], most: int = BLOCK_HASHES) -> Iterator[tuple[Ranks, Words]]:
    """Gathers batches into tables of about ``most`` rows (a batch is never split)."""
    gathered: list[tuple[Ranks, Words]] = []
    count = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        gathered.append(batch_to_table(matcher, batch))
        count += batch.num_rows
        if count >= most:
            yield join_tables(matcher, gathered)
            gathered, count = [], 0
    if gathered:
        yield join_tables(matcher, gathered)


def join_tables(matcher: Matcher, pieces: list[tuple[Ranks, Words]]) -> tuple[Ranks, Words]:
    """One table of several, in their order."""
    if not pieces:
        return np.zeros(0, dtype=np.int64), np.zeros((0, matcher.width), dtype=np.uint64)
    return np.concatenate([ranks for ranks, _ in pieces]), np.concatenate([words for _, words in pieces])


def sorted_by_rank(ranks: Ranks, words: Words) -> tuple[Ranks, Words]:
    """The table in keep order."""
    if len(ranks) < 2 or bool((ranks[1:] > ranks[:-1]).all()):
        return ranks, words
    order = np.argsort(ranks)
    return ranks[order], words[order]


def table_blocks(ranks: Ranks, words: Words) -> Iterator[Any]:
    """The table as batches of ``TABLE_SCHEMA``, numbered in order."""
    for block, start in enumerate(range(0, len(ranks), BLOCK_HASHES)):
        part = slice(start, start + BLOCK_HASHES)
        yield block_batch(block=block, ranks=ranks[part], words=words[part])


def decision_blocks(
    ranks: Ranks,
    keepers: Ranks,
    is_reference: npt.NDArray[np.bool_],
    distances: npt.NDArray[np.int32],
) -> Iterator[Any]:
    """Decisions as batches of ``DECISION_BLOCK_SCHEMA``."""
    for start in range(0, len(ranks), DECISION_HASHES):
        part = slice(start, start + DECISION_HASHES)
        yield block_batch(
            ranks=ranks[part],
            keepers=keepers[part],
            is_reference=is_reference[part],
            distances=distances[part],
        )


def unpack_decisions(batches: Iterator[Any]) -> Iterator[Any]:
    """Batches of ``DECISION_BLOCK_SCHEMA`` to rows of ``DECISION_SCHEMA``."""
    for batch in batches:
        for row in range(batch.num_rows):
            yield record_batch(
                rank=values(batch, "ranks", row, np.int64),
                keeper=values(batch, "keepers", row, np.int64),
                is_reference=values(batch, "is_reference", row, np.bool_),
                distance=values(batch, "distances", row, np.int32),
            )
