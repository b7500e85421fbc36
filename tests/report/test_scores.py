"""Scores are those of counting pairs one by one; groups are those of walking along the pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgdedup_spark.report.scores import Truth, best, joined, score

LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=20)


def numbered(labels):
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


@given(LABELS)
def test_pairs_are_counted(rows):
    truth, run = numbered([one[0] for one in rows]), np.array([one[1] for one in rows])
    half = np.random.default_rng(len(rows)).random(truth.max() + 1) < 0.5
    for some in (None, half):
        inside = [row for row in range(len(rows)) if some is None or some[truth[row]]]
        both = list(itertools.combinations(inside, 2))
        true = [truth[a] == truth[b] for a, b in both]
        said = [run[a] == run[b] for a, b in both]
        found = score(Truth(truth), run, some)
        hits = sum(one and other for one, other in zip(true, said, strict=True))
        assert (found.found, found.missed, found.false) == (hits, sum(true) - hits, sum(said) - hits)
        assert found.recall.value == (pytest.approx(hits / sum(true)) if any(true) else None)
        assert found.precision.value == (pytest.approx(hits / sum(said)) if any(said) else None)
    assert Truth(truth).pairs == sum(truth[a] == truth[b] for a, b in itertools.combinations(range(len(rows)), 2))


@given(st.integers(1, 15).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_what_pairs_hold_together(case):
    count, pairs = case
    slow = list(range(count))
    for a, b in pairs:
        slow = [slow[a] if one == slow[b] else one for one in slow]
    found = joined(count, np.array(pairs, np.int64).reshape(-1, 2))
    assert all((found[a] == found[b]) == (slow[a] == slow[b]) for a in range(count) for b in range(count))
    assert set(found.tolist()) == set(range(len(set(slow))))


def test_an_interval_holds_the_truth_and_kinds_have_their_own():
    """1,000 pairs, of which 80% are found, those of one kind all."""
    groups = np.repeat(np.arange(1000), 2)
    rng = np.random.default_rng(0)
    hit = (rng.random(1000) < 0.6) | (np.arange(1000) % 2 == 0)
    run = np.arange(2000)
    run[1::2][hit] = run[::2][hit]
    pairs = np.arange(2000).reshape(-1, 2)
    found = score(Truth(groups, {"even": pairs[::2], "odd": pairs[1::2], "none": pairs[:0]}), run)
    assert found.recall.low < 0.8 < found.recall.high < found.recall.low + 0.06
    assert found.kinds["even"].entry() == [1.0, 1.0, 1.0] and found.kinds["none"].value is None
    assert found.kinds["odd"].low < 0.6 < found.kinds["odd"].high
    assert found.precision.entry() == [1.0, 1.0, 1.0]


def test_the_best_is_of_equal_ones_the_strictest():
    truth = Truth(np.array([0, 0, 1, 1, 2]))
    none, right, wrong = np.arange(5), np.array([0, 0, 2, 2, 4]), np.zeros(5, int)
    scores = {at: score(truth, run) for at, run in {0: none, 4: right, 8: right, 12: wrong}.items()}
    assert best(scores) == 4
    assert truth.halves().sum() in (1, 2) and scores[12].false == 8
