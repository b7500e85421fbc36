"""Splits of ready hashes whose near ones form chains, and who is in which, counted one by one."""

from __future__ import annotations

import numpy as np

THRESHOLD = 3


def chains(seed, count):
    """64-bit hashes, many of which are a bit from the one before: nearly nobody is near the first of its chain."""
    rng = np.random.default_rng(seed)
    starts = np.random.default_rng(1).integers(0, 1 << 62, 12)  # the same in all splits
    found = []
    for _ in range(count):
        value = int(found[-1]) if found and rng.random() < 0.5 else int(rng.choice(starts))
        for _ in range(rng.integers(0, 4)):
            value ^= 1 << int(rng.integers(0, 62))
        found.append(value if rng.random() < 0.9 else int(rng.integers(0, 1 << 62)))
    return [(f"{seed}-{number:03}", f"{value:016x}", "ab"[number % 2]) for number, value in enumerate(found)]


def near(one, other):
    return one[2] == other[2] and (int(one[1], 16) ^ int(other[1], 16)).bit_count() <= THRESHOLD


def dropped(rows):
    """How many go by the first-come rule."""
    kept = []
    for row in rows:
        if not any(near(row, other) for other in kept):
            kept.append(row)
    return len(rows) - len(kept)


def matrix(splits):
    """split → other → how many rows of it have a partner there; of a split in itself, how many go."""
    return {
        name: {
            other: dropped(rows) if name == other else sum(any(near(row, there) for there in others) for row in rows)
            for other, others in splits.items()
        }
        for name, rows in splits.items()
    }


def check_pair(one, other, pair, others):
    """Whether a row and its partner are near, and nearer than equal only if nobody there is equal.

    Args:
        pair: has ``distance`` and ``reason``.
        others: all rows of the partner's split; None if it is the row's own.
    """
    assert near(one, other) and one is not other
    assert pair["distance"] == (int(one[1], 16) ^ int(other[1], 16)).bit_count()
    assert pair["reason"] == ("same_hash" if one[1] == other[1] else "near_hash")
    if others is not None:
        assert any(there[1:] == one[1:] for there in others) == (pair["reason"] == "same_hash")
