"""The first-come rule among few hashes, every pair compared by NumPy: done before the compiler would be loaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.parts import CONTEXT_BYTES, Part, pack_codes

#: Pairs of words that are compared in the second and more that the compiler takes to load.
MOST_PAIRS = 100_000_000
# Rows that are compared with others at once, and with how many: some megabytes of differences.
_BLOCK, _OTHERS = 128, 4096
# Words of a context differ in no bit.
_CONTEXT = Part(8 * CONTEXT_BYTES, 0, reported=False)


def are_few(rows: int, references: int, words: int) -> bool:
    """Whether so many rows after so many references are decided here, of so many words each. Without an instruction
    that counts bits (NumPy 1) none are."""
    return hasattr(np, "bitwise_count") and rows * (references + rows // 2) * words <= MOST_PAIRS


def words_of(parts: Sequence[Part], *, contexts: bool) -> int:
    """Words of a row."""
    return sum(part.words for part in parts) + (_CONTEXT.words if contexts else 0)


def first_come_of_few(
    codes: npt.NDArray[np.uint8],
    contexts: npt.NDArray[np.uint8] | None,
    parts: Sequence[Part],
    references: int,
    *,
    among: bool,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Of each row, in keep order, the number of its keeper, its own if it is kept, and the distance to it.

    Args:
        codes: ``(n, code bytes)``; the references come first, and are kept.
        contexts: ``(n, CONTEXT_BYTES)`` that must be equal, if anything must.
        among: whether the others are compared with each other, too.
    """
    words, parts = pack_codes(codes, parts), list(parts)
    if contexts is not None:
        words, parts = [*words, np.ascontiguousarray(contexts).view(np.uint64)], [*parts, _CONTEXT]
    keeper = np.arange(len(codes))
    kept = np.zeros(len(codes), np.int64)
    kept[:references] = keeper[:references]
    count = references
    for start in range(references, len(codes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(codes)))
        found = np.zeros(len(block), bool)
        for first in range(0, count, _OTHERS):
            others, open_ = kept[first : min(first + _OTHERS, count)], np.flatnonzero(~found)
            before = _matching(words, parts, block[open_], others)
            hit = before.any(axis=1)
            keeper[block[open_[hit]]] = others[before[hit].argmax(axis=1)]
            found[open_[hit]] = True
        if not among:
            continue
        inside = _matching(words, parts, block, block)
        for place in np.flatnonzero(~found).tolist():
            # Kept rows of the block itself: they come after all that were kept before it.
            earlier = block[:place][inside[place, :place]]
            earlier = earlier[keeper[earlier] == earlier]
            if len(earlier):
                keeper[block[place]] = earlier[0]
            else:
                kept[count] = block[place]
                count += 1
    distances = [
        _bits(part_words, part_words[keeper]) for part_words, part in zip(words, parts, strict=True) if part.reported
    ]
    return keeper, np.maximum.reduce(distances).astype(np.int32)


def _matching(
    words: Sequence[Words], parts: Sequence[Part], rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """``(rows, others)`` whether they match. Later parts are looked at where the first one tells no two apart."""
    near = _bits(words[0][rows][:, None], words[0][others][None]) <= parts[0].threshold
    one, other = np.nonzero(near)
    for part_words, part in zip(words[1:], parts[1:], strict=True):
        matches = _bits(part_words[rows[one]], part_words[others[other]]) <= part.threshold
        near[one[~matches], other[~matches]] = False
        one, other = one[matches], other[matches]
    return near


def _bits(some: Words, others: Words) -> npt.NDArray[np.uint16]:
    """``(…, width)`` words → ``(…)`` how many bits differ."""
    counts = np.bitwise_count(some[..., 0] ^ others[..., 0]).astype(np.uint16)
    for word in range(1, some.shape[-1]):
        counts += np.bitwise_count(some[..., word] ^ others[..., word])
    return counts
