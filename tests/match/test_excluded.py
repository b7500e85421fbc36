"""Pairs that never match, in the first-come rule: against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_cases import distance, make_bits, to_codes

from imgdedup_spark.kernels.barred import Exclusions, Numbers, first_come_of_equals, pack_pairs
from imgdedup_spark.kernels.cosine.first_come import Pairs, decide
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.match.by_hash.plan import NearOptions
from imgdedup_spark.match.packed import first_come


def some_pairs(rng, numbers, count):
    """Random pairs among rows that have numbers."""
    named = numbers[numbers > 0]
    pairs = rng.choice(named, (count, 2)) if len(named) else np.zeros((0, 2), np.int64)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return pack_pairs(pairs), {frozenset(pair) for pair in pairs.tolist()}


def loop(matches, numbers, references, pairs):
    """Who stands for each, row by row."""
    kept, keeper = list(range(references)), list(range(len(numbers)))
    for row in range(references, len(numbers)):
        for other in kept:
            if frozenset((numbers[row], numbers[other])) not in pairs and matches(row, other):
                keeper[row] = other
                break
        else:
            kept.append(row)
    return keeper


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([(Part(64, 8),), (Part(64, 10), Part(144, 12, reported=False))]),
    st.sampled_from(["clusters", "chain", "all_near"]), st.integers(0, 30), st.booleans(),
    st.sampled_from([None, 0, 1, 2]),
)  # fmt: skip
def test_near_hashes(seed, parts, kind, references, with_texts, k):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(references, 90)) + 1
    codes = to_codes([make_bits(rng, kind, count, part.bits, part.threshold) for part in parts])
    # Rows with numbers may be equal to others.
    codes[rng.random(count) < 0.3] = codes[0]
    numbers = rng.permutation(np.where(rng.random(count) < 0.5, np.arange(count) + 1, 0)).astype(np.int64)
    texts = rng.integers(0, 3 if with_texts else 1, count)
    barred, pairs = some_pairs(rng, numbers, 60)
    contexts = np.zeros((count, 16), np.uint8)
    contexts[:, 5] = texts
    found = first_come(
        codes, contexts if with_texts else None, parts, references, NearOptions(k=k), numbers=numbers, barred=barred
    )

    def matches(a, b):
        return texts[a] == texts[b] and distance(codes[a].tobytes(), codes[b].tobytes(), parts) is not None

    assert found.keeper.tolist() == loop(matches, numbers.tolist(), references, pairs)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10))
def test_equal_keys(seed, references):
    rng = np.random.default_rng(seed)
    count = references + int(rng.integers(0, 40))
    keys, numbers = rng.integers(0, 4, count), rng.integers(0, 12, count)
    barred, pairs = some_pairs(rng, numbers, 30)
    found = first_come_of_equals(keys, numbers, references, barred)
    assert found.tolist() == loop(lambda a, b: keys[a] == keys[b], numbers.tolist(), references, pairs)


@pytest.mark.parametrize("seed", range(20))
def test_lists_of_neighbours(seed):
    """All pairs that are near, of items and references, as the search for embeddings lists them."""
    rng = np.random.default_rng(seed)
    references, count = 5, 40
    near = np.triu(rng.random((count, count)) < 0.3)
    numbers = rng.integers(0, 10, count)
    barred, pairs = some_pairs(rng, numbers, 25)
    base, query = np.nonzero(near)
    some = (query >= references) & (query != base)
    base, query = base[some], query[some]
    # References and items have ranks of their own.
    is_reference = base < references
    ranks = np.where(np.arange(count) < references, np.arange(count), np.arange(count) - references)
    excluded = Exclusions(
        barred, Numbers(np.arange(count - references), numbers[references:]), Numbers(np.arange(5), numbers[:5])
    )
    listed = Pairs(
        ranks[query],
        ranks[base],
        is_reference,
        np.ones(len(query)),
        is_reference & False,
        np.ones(len(query), np.int64),
    )
    none = np.zeros(0, np.int64)
    out = decide(listed, none, none, excluded.of(listed.query, listed.base, listed.is_reference))
    keeper = list(range(count))
    for rank, stands, beyond in zip(out.rank, out.keeper, out.is_reference, strict=True):
        keeper[rank + references] = stands if beyond else stands + references
    assert keeper == loop(lambda a, b: near[b, a], numbers.tolist(), references, pairs)
    degree = [
        sum(frozenset((one, other)) in pairs for other in numbers[:references].tolist()) for one in numbers.tolist()
    ]
    assert excluded.most_references() >= max(degree)
