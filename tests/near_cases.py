"""Sets of hashes that are hard for a near-duplicate search, and the slow twins that say what is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hamming.bands import make_plan
from imgdedup_spark.kernels.hamming.bits import permute_bits
from imgdedup_spark.kernels.hamming.parts import CONTEXT_BYTES, Part, pack_codes
from imgdedup_spark.kernels.hamming.table import Matcher, choose_filter_words

KINDS = ("random", "clusters", "chain", "all_near", "shared_bits")


def make_bits(rng: np.random.Generator, kind: str, count: int, bits: int, threshold: int) -> npt.NDArray[np.uint8]:
    """``(count, bits)`` of 0 and 1."""
    if kind == "random":
        return rng.integers(0, 2, (count, bits), dtype=np.uint8)
    if kind == "chain":
        # Each one or two bits from the one before: who is kept hangs on all that come before.
        steps = np.zeros((count, bits), dtype=np.uint8)
        for _ in range(2):
            steps[np.arange(count), rng.integers(0, bits, count)] ^= 1
        return np.bitwise_xor.accumulate(steps, axis=0)
    if kind == "shared_bits":
        matrix = rng.integers(0, 2, (count, bits), dtype=np.uint8)
        matrix[:, : 3 * bits // 4] = matrix[0, : 3 * bits // 4]
        return matrix
    centres = rng.integers(0, 2, (1 if kind == "all_near" else max(1, count // 8), bits), dtype=np.uint8)
    matrix = centres[rng.integers(0, len(centres), count)]
    most = threshold // 2 if kind == "all_near" else threshold + 2
    for row in matrix:
        row[rng.integers(0, bits, rng.integers(0, most + 1))] ^= 1
    return matrix


def to_codes(columns: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """The code of each row: every part right-aligned in whole bytes, one after another."""
    padded = [np.pad(column, ((0, 0), (-column.shape[1] % 8, 0))) for column in columns]
    return np.concatenate([np.packbits(column, axis=1) for column in padded], axis=1)


def distance(a: bytes, b: bytes, parts: Sequence[Part]) -> int | None:
    """The reported distance of two codes, or None if they do not match."""
    start, reported = 0, 0
    for part in parts:
        end = start + part.bytes
        different = bin(int.from_bytes(a[start:end], "big") ^ int.from_bytes(b[start:end], "big")).count("1")
        if different > part.threshold:
            return None
        if part.reported:
            reported = max(reported, different)
        start = end
    return reported


Item = tuple[int, bytes, bytes]


def first_come_loop(
    items: Sequence[Item], parts: Sequence[Part], references: Sequence[Item] = ()
) -> dict[int, tuple[int, bool, int]]:
    """The rule in plain Python: rank to (keeper, whether it is a reference, distance)."""
    kept = [(True, reference) for reference in sorted(references)]
    decisions = {}
    for rank, code, context in sorted(items):
        for is_reference, (keeper, other, other_context) in kept:
            found = distance(code, other, parts) if context == other_context else None
            if found is not None:
                decisions[rank] = (keeper, is_reference, found)
                break
        else:
            kept.append((False, (rank, code, context)))
            decisions[rank] = (rank, False, 0)
    return decisions


def make_matcher(
    codes: npt.NDArray[np.uint8],
    parts: Sequence[Part],
    *,
    main: int = 0,
    k: int | None = None,
    contexts: bool = False,
    deepen: float = 1.0,
) -> Matcher:
    """A matcher planned from all the codes."""
    words = pack_codes(codes, parts)[main]
    part = parts[main]
    plan = make_plan(words, part.bits, part.threshold, hashes=len(codes), pairs=len(codes) ** 2 / 2, force_k=k)
    filter_words = choose_filter_words(permute_bits(words, plan.order), plan, part.words)
    return Matcher(tuple(parts), main, plan, contexts, filter_words, deepen)


def context_digests(contexts: Sequence[int]) -> npt.NDArray[np.uint8]:
    """``(n, CONTEXT_BYTES)``, different for different numbers."""
    digests = np.zeros((len(contexts), CONTEXT_BYTES), dtype=np.uint8)
    digests[:, 3] = contexts
    return digests
