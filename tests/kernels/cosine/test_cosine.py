"""Tiles, bounds and the first-come rule against loops that are obviously right. No Spark."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgdedup_spark.kernels.cosine.first_come import Pairs, decide
from imgdedup_spark.kernels.cosine.prefilter import Prefilter, fit_prefilter, leading_directions
from imgdedup_spark.kernels.cosine.rows import FROM_START, NO_SEARCH, TOLERANCE, Rows, dot64
from imgdedup_spark.kernels.cosine.tiles import match


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(random: np.random.Generator, count: int, dims: int = 16, clusters: int = 5) -> np.ndarray:
    centres = random.standard_normal((clusters, dims))
    noise = random.choice([0.02, 0.15, 0.3], (count, 1)) * random.standard_normal((count, dims))
    return unit(centres[random.integers(clusters, size=count)] + noise)


def make_rows(
    vectors: np.ndarray,
    block: np.ndarray,
    is_reference: np.ndarray,
    rank: np.ndarray,
    background: np.ndarray | None = None,
) -> Rows:
    cursor = np.where(is_reference, NO_SEARCH, FROM_START).astype(np.int64)
    background = np.zeros((len(rank), 1)) if background is None else background
    rows = Rows(
        vectors, block.astype(np.int64), is_reference, rank.astype(np.int64), cursor, background.astype(np.float32)
    )
    return rows.take(np.arange(len(rows.rank)), sort=True)


def items(vectors: np.ndarray, background: np.ndarray | None = None) -> Rows:
    count = len(vectors)
    return make_rows(vectors, np.zeros(count), np.zeros(count, bool), np.arange(count), background)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.astype(np.float64) @ b.astype(np.float64))


def score(rows: Rows, b: int, q: int) -> float:
    if rows.background[q].any() and (rows.vectors[b] == rows.vectors[q]).all():
        return 1.0
    return cosine(rows.vectors[b], rows.vectors[q]) - float(rows.background[q, 0])


def earlier_neighbours(rows: Rows, q: int, similarity: float) -> list[tuple[bool, int]]:
    """The item at row ``q``: its earlier neighbours as (is item, rank), in order."""
    return [
        (not rows.is_reference[b], int(rows.rank[b]))
        for b in range(len(rows.rank))
        if rows.block[b] == rows.block[q]
        and (rows.is_reference[b] or rows.rank[b] < rows.rank[q])
        and score(rows, b, q) >= similarity - TOLERANCE
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 90),
    blocks=st.integers(1, 4),
    similarity=st.sampled_from([0.5, 0.9, 0.97, 1.0]),
    dims=st.sampled_from([None, 1, 4, 8]),
    cap=st.integers(1, 6),
    normalised=st.booleans(),
)
def test_match_finds_the_earliest_neighbours(seed, count, blocks, similarity, dims, cap, normalised):
    random = np.random.default_rng(seed)
    vectors = clustered(random, count)
    vectors[count // 2 : count // 2 + count // 4] = vectors[: count // 4]
    is_reference = random.random(count) < 0.2
    rank = np.where(is_reference, random.permutation(count), random.permutation(count) * 3 - 50)
    background = random.choice([-0.05, 0.0, 0.1, 0.4], (count, 1)) if normalised else None
    rows = make_rows(vectors, random.integers(blocks, size=count), is_reference, rank, background)
    prefilter = Prefilter(None if dims is None else leading_directions(vectors, dims))
    queries = np.flatnonzero(~rows.is_reference)
    found = match(rows, rows.queries(), similarity, prefilter=prefilter, cap=cap)
    for q in queries:
        expected = earlier_neighbours(rows, q, similarity)
        mine = found.query == rows.rank[q]
        got = [(not r, int(b)) for r, b in zip(found.is_reference[mine], found.base[mine], strict=True)]
        if expected and not expected[0][0]:
            # A reference decides at once: no list is needed.
            assert got == expected[:1] and not found.more[mine].any()
            continue
        assert got == expected[:cap]
        if len(expected) > cap:
            assert found.more[mine][-1]
        for base, similarity_found in zip(found.base[mine], found.similarity[mine], strict=True):
            b = int(np.flatnonzero((rows.rank == base) & ~rows.is_reference)[0])
            assert similarity_found == pytest.approx(min(1.0, score(rows, b, q)), abs=1e-12, rel=0)


def test_match_over_many_tiles_equals_one_matrix():
    vectors = clustered(np.random.default_rng(0), 2600, dims=64, clusters=400)
    rows = items(vectors)
    found = match(rows, rows, 0.9, prefilter=fit_prefilter(vectors, 0.9), cap=3)
    close = np.tril(vectors.astype(np.float64) @ vectors.T.astype(np.float64) >= 0.9 - TOLERANCE, -1)
    expected = [(q, b) for q in range(len(rows.rank)) for b in np.flatnonzero(close[q])[:3]]
    assert list(zip(found.query.tolist(), found.base.tolist(), strict=True)) == expected


@pytest.mark.parametrize("images", [2, 3])
@pytest.mark.parametrize("normalised", [False, True])
def test_rows_of_several_images_have_the_least_of_their_cosines(images, normalised):
    random = np.random.default_rng(images)
    pictures = [clustered(random, 300, dims=32, clusters=4 if place else 1) for place in range(images)]
    # All are close in the first picture, so that the mean of the cosines is often enough where their least is not.
    vectors = (np.concatenate(pictures, axis=1) / np.sqrt(images)).astype(np.float32)
    background = normalised * random.uniform(-0.1, 0.3, (300, images)).astype(np.float32)
    rows = items(vectors, background)
    cosines = np.stack([one.astype(np.float64) @ one.T.astype(np.float64) for one in pictures])
    least = (cosines - background.T[:, :, None]).min(axis=0)
    prefilter = Prefilter(leading_directions(vectors, 8))
    found = match(rows, rows, 0.5, prefilter=prefilter, cap=300)
    close = np.tril(least >= 0.5 - TOLERANCE, -1)
    assert found.query.tolist() == [q for q, b in zip(*np.nonzero(close), strict=True)]
    assert found.base.tolist() == [b for q, b in zip(*np.nonzero(close), strict=True)]
    assert found.similarity == pytest.approx(np.minimum(least[close], 1), abs=1e-6)
    assert 0 < close.sum() < 0.9 * np.tril(vectors @ vectors.T >= 0.5, -1).sum()
    # The highest cosine is one of pictures, whatever the background.
    least = cosines.min(axis=0)
    np.fill_diagonal(least, -2)
    highest = match(rows, rows, 0.5, want_max=True)
    best = dict.fromkeys(range(300), -2.0)
    for rank, value in zip(highest.highest_rank.tolist(), highest.highest.tolist(), strict=True):
        best[rank] = max(best[rank], value)
    assert list(best.values()) == pytest.approx(least.max(axis=1).tolist(), abs=1e-5)


def test_a_cursor_skips_what_is_known():
    rows = items(np.ones((10, 4), np.float32) / 2)
    query = rows.take(np.array([9]))
    again = Rows(query.vectors, query.block, query.is_reference, query.rank, np.array([5]), query.background)
    assert match(rows, again, 0.9, cap=2).base.tolist() == [6, 7]


def test_neighbours_in_two_tiles_have_the_same_similarity():
    random = np.random.default_rng(3)
    vectors = unit(1 + 0.2 * random.standard_normal((1500, 512)))
    alone = items(vectors[[3, 1400]])
    (pair,) = match(alone, alone, 0.9).similarity
    together = match(items(vectors), items(vectors), 0.9, cap=1500)
    assert together.similarity[(together.query == 1400) & (together.base == 3)].tolist() == [pair]


def test_copies_match_at_a_similarity_of_one():
    random = np.random.default_rng(1)
    vectors = unit(random.standard_normal((50, 512)))
    found = match(items(np.repeat(vectors, 2, axis=0)), items(np.repeat(vectors, 2, axis=0)), 1.0)
    assert found.query.tolist() == list(range(1, 100, 2))
    assert found.similarity.max() <= 1.0


def test_a_vector_of_zeros_matches_nothing():
    assert match(items(np.zeros((3, 8), np.float32)), items(np.zeros((3, 8), np.float32)), 0.5).query.tolist() == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), blocks=st.integers(1, 3))
def test_highest_cosine(seed, count, blocks):
    random = np.random.default_rng(seed)
    vectors = clustered(random, count)
    is_reference = random.random(count) < 0.2
    rows = make_rows(vectors, random.integers(blocks, size=count), is_reference, random.permutation(count))
    queries = rows.queries()
    found = match(rows, queries, 0.9, want_max=True)
    highest = {}
    for rank, value in zip(found.highest_rank.tolist(), found.highest.tolist(), strict=True):
        highest[rank] = max(highest.get(rank, -2), value)
    for q in np.flatnonzero(~rows.is_reference):
        others = [
            cosine(rows.vectors[b], rows.vectors[q]) for b in range(count) if b != q and rows.block[b] == rows.block[q]
        ]
        rank = int(rows.rank[q])
        assert (rank in highest) == bool(others)
        if others:
            assert highest[rank] == pytest.approx(max(others), abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dims=st.integers(1, 24), kept=st.integers(1, 24))
def test_the_bound_is_never_below_the_cosine(seed, dims, kept):
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((40, dims)) * random.exponential(size=dims) + 1e-3)
    basis = leading_directions(vectors[:10], min(kept, dims))
    bounds = Prefilter(basis).project(vectors)
    assert (bounds @ bounds.T >= vectors.astype(np.float64) @ vectors.T - 1e-5).all()


def test_fit_prefilter_saves_most_of_the_product():
    random = np.random.default_rng(0)
    chosen = fit_prefilter(unit(random.standard_normal((2000, 512))), 0.9)
    assert chosen.basis is not None and chosen.basis.shape[1] <= 160
    assert fit_prefilter(unit(random.standard_normal((2000, 512))), 0.05).basis is None  # everything is a candidate
    assert fit_prefilter(np.zeros((0, 0), np.float32), 0.9).basis is None


@pytest.mark.parametrize("dims", [0, 1, 7, 8, 9, 512])
def test_dot64(dims):
    a, b = np.random.default_rng(dims).standard_normal((2, dims)).astype(np.float32)
    assert dot64(a, b) == dot64(b, a) == pytest.approx(cosine(a, b), abs=1e-12)


def first_come_loop(close: np.ndarray) -> dict[int, int]:
    """The rule as it is told: dropped item → earliest kept neighbour."""
    kept: list[int] = []
    dropped = {}
    for q in range(len(close)):
        keeper = next((b for b in kept if close[q, b]), None)
        if keeper is None:
            kept.append(q)
        else:
            dropped[q] = keeper
    return dropped


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), share=st.floats(0.01, 0.9), cap=st.integers(1, 4))
def test_decide_with_short_lists_equals_the_loop(seed, count, share, cap):
    """Searches as ``search_and_decide`` does, with lists of ``cap`` neighbours, until all are decided."""
    random = np.random.default_rng(seed)
    close = np.triu(random.random((count, count)) < share, 1)
    close |= close.T
    found: list[tuple[int, int, bool, int]] = []
    searched: list[tuple[int, int]] = []
    queries, gone, number = [(q, -1) for q in range(count)], set[int](), 1
    while queries:
        assert number < 100
        for q, cursor in queries:
            neighbours = [b for b in range(cursor + 1, q) if close[q, b] and b not in gone]
            for place, b in enumerate(neighbours[:cap]):
                found.append((q, b, place == cap - 1, number))
        found = [found[i] for i in random.permutation(len(found))]
        query, base, more, search = (np.array([f[i] for f in found], np.int64) for i in range(4))
        pairs = Pairs(query, base, np.zeros(len(found), bool), np.ones(len(found)), more.astype(bool), search)
        again = np.array(searched, np.int64).reshape(-1, 2)
        decisions = decide(pairs, again[:, 0], again[:, 1])
        gone = set(decisions.rank.tolist())
        queries = list(zip(decisions.asks.tolist(), decisions.cursor.tolist(), strict=True))
        number += 1
        searched += [(q, number) for q, _ in queries]
    assert decisions.waiting == 0
    assert dict(zip(decisions.rank.tolist(), decisions.keeper.tolist(), strict=True)) == first_come_loop(close)


def test_decide_prefers_references():
    pairs = Pairs(
        np.array([5, 5, 6]),
        np.array([2, 90, 5]),
        np.array([False, True, False]),
        np.array([0.9, 0.91, 0.95]),
        np.zeros(3, bool),
        np.ones(3, np.int64),
    )
    decisions = decide(pairs, np.zeros(0, np.int64), np.zeros(0, np.int64))
    # 6 stays: its only neighbour is dropped.
    assert (decisions.rank.tolist(), decisions.keeper.tolist()) == ([5], [90])
    assert decisions.is_reference.tolist() == [True] and decisions.similarity.tolist() == [0.91]


def test_decide_nothing():
    none = np.zeros(0, np.int64)
    decisions = decide(Pairs(none, none, none.astype(bool), none.astype(float), none.astype(bool), none), none, none)
    assert len(decisions.rank) == len(decisions.asks) == decisions.waiting == 0
