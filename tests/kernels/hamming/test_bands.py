"""The plan: right for any choice, and cheap where it can be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgdedup_spark.kernels.hamming.bands import MAX_BAND_BITS, BandPlan, make_plan
from imgdedup_spark.kernels.hamming.bits import permute_bits


def uniform(count: int, bits: int) -> np.ndarray:
    words = -(-bits // 64)
    sample = np.random.default_rng(0).integers(0, 1 << 64, (count, words), dtype=np.uint64, endpoint=False)
    if bits % 64:
        sample[:, -1] &= np.uint64((1 << bits % 64) - 1)
    return sample


def band_values(plan: BandPlan, words: np.ndarray) -> list[list[int]]:
    """Every hash's band values, from Python integers."""
    moved = permute_bits(words, plan.order)
    whole = [sum(int(word) << 64 * i for i, word in enumerate(row)) for row in moved]
    return [
        [(value >> start) & ((1 << width) - 1) for start, width in zip(plan.starts, plan.widths, strict=True)]
        for value in whole
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(42, 300), st.data())
def test_hashes_within_the_threshold_agree_on_k_bands(bits: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(0, bits // 2))
    k = data.draw(st.integers(1, 3))
    plan = make_plan(uniform(64, bits), bits, threshold, hashes=64, pairs=2016, force_k=k)
    flips = data.draw(st.lists(st.integers(0, bits - 1), max_size=threshold))
    pair = np.repeat(uniform(1, bits), 2, axis=0)
    for bit in flips:
        pair[1, bit // 64] ^= np.uint64(1 << bit % 64)
    first, second = band_values(plan, pair)
    assert sum(a == b for a, b in zip(first, second, strict=True)) >= k
    assert len(plan.widths) == threshold + k


@settings(max_examples=50, deadline=None)
@given(st.integers(42, 1100), st.integers(1, 3))
def test_the_rearranged_bits_are_a_permutation(bits: int, k: int) -> None:
    sample = uniform(40, bits)
    plan = make_plan(sample, bits, 5, hashes=40, pairs=780, force_k=k)
    assert sorted(plan.order) == list(range(64 * sample.shape[1]))
    assert max(plan.widths) <= MAX_BAND_BITS
    moved = permute_bits(sample, plan.order)
    before = [sum(int(a ^ b).bit_count() for a, b in zip(*rows, strict=True)) for rows in itertools.pairwise(sample)]
    after = [sum(int(a ^ b).bit_count() for a, b in zip(*rows, strict=True)) for rows in itertools.pairwise(moved)]
    assert before == after


def test_more_hashes_want_longer_keys() -> None:
    sample = uniform(4000, 64)
    chosen = [make_plan(sample, 64, 8, hashes=n, pairs=n * n / 2).k for n in (1_000, 100_000, 1_000_000, 30_000_000)]
    assert chosen == sorted(chosen)
    assert chosen[0] == 0
    assert chosen[-1] == 3


def test_all_pairs_where_bands_no_longer_pay() -> None:
    assert make_plan(uniform(4000, 64), 64, 30, hashes=1e6, pairs=5e11).k == 0


def test_constant_bits_are_spread_over_the_bands() -> None:
    sample = uniform(4000, 256)
    sample[:, 0] = np.uint64(0x1234)
    plan = make_plan(sample, 256, 15, hashes=300_000, pairs=4.5e10, force_k=1)
    # Contiguous bands of 16 bits would make four keys that all hashes share: four times all pairs.
    assert plan.comparisons < 0.01 * 4.5e10


def test_the_estimate_is_near_the_truth() -> None:
    words = uniform(20_000, 64)
    plan = make_plan(words[:4000], 64, 8, hashes=20_000, pairs=2e8, force_k=2)
    values = np.array(band_values(plan, words))
    truth = 0
    for key in itertools.combinations(range(10), 2):
        _, runs = np.unique(values[:, key], axis=0, return_counts=True)
        truth += int((runs * (runs - 1) // 2).sum())
    assert plan.comparisons == pytest.approx(truth, rel=0.1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_samples_make_a_plan(count: int) -> None:
    for k in (0, 1, 2, 3, None):
        plan = make_plan(uniform(count, 64), 64, 8, hashes=count, pairs=count, force_k=k)
        assert plan.keys == (0 if plan.k == 0 else len(list(itertools.combinations(range(8 + plan.k), plan.k))))
