"""Cells and what they find. No Spark."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgdedup_spark.kernels.cosine.centroids import (
    Cells,
    cell_count,
    choose_probes,
    fit_cells,
    probes_needed,
    recall_of,
    synthetic_neighbours,
)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_cells_are_the_nearest_in_order():
    random = np.random.default_rng(0)
    cells, vectors = Cells(unit(random.standard_normal((40, 8)))), unit(random.standard_normal((1500, 8)))
    expected = np.argsort(-(vectors.astype(float) @ cells.centroids.T.astype(float)), axis=1)[:, :5]
    assert (cells.nearest(vectors, 5) == expected).all()
    assert cells.nearest(vectors[:2], 100).shape == (2, 40)


def test_cells_do_not_depend_on_the_batch():
    random = np.random.default_rng(0)
    cells, vectors = fit_cells(unit(random.standard_normal((600, 64))), 50), unit(random.standard_normal((1100, 64)))
    one_by_one = np.concatenate([cells.nearest(part) for part in np.array_split(vectors, 7)])
    assert (cells.nearest(vectors) == one_by_one).all()


def test_k_means_finds_the_clusters():
    random = np.random.default_rng(0)
    centres = unit(random.standard_normal((6, 32)))
    vectors = unit(centres[random.integers(6, size=3000)] + 0.02 * random.standard_normal((3000, 32)))
    centroids = fit_cells(vectors, 24).centroids
    assert ((centroids @ centres.T).max(axis=0) > 0.99).all()
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(1, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), probes=st.integers(1, 6))
def test_probes_needed(seed, probes):
    random = np.random.default_rng(seed)
    a, b = (np.stack([random.permutation(12)[:probes] for _ in range(20)]) for _ in range(2))
    for x, y, got in zip(a, b, probes_needed(a, b), strict=True):
        shared = [p for p in range(1, probes + 1) if set(x[:p]) & set(y[:p])]
        assert got == (shared[0] if shared else probes + 1)


def test_synthetic_neighbours_lie_at_the_threshold():
    vectors = unit(np.random.default_rng(0).standard_normal((50, 16)))
    assert (vectors * synthetic_neighbours(vectors, np.full(len(vectors), 0.9))).sum(axis=1) == pytest.approx(
        0.9, abs=1e-6
    )


def test_cell_count_grows_with_the_root():
    assert [cell_count(n) for n in (0, 10**6, 10**9)] == [16, 2000, 8192]


def test_the_fewest_probes_that_find_enough_are_chosen():
    needed = np.zeros((200, 17), np.int64)
    needed[:, 0], needed[:, 2] = 90, 10  # with three probes everything is found
    report = choose_probes(needed, np.ones(10, np.int64))
    assert report["probes"] == 3 and report["recall"] == 1.0 and report["recall_pairs"] == 10_000
    assert "recall_warning" not in report


def test_too_low_a_recall_is_said():
    needed = np.zeros((200, 17), np.int64)
    needed[:, 0], needed[:, 16] = 9, 1  # a tenth is never found
    report = choose_probes(needed, np.ones(10, np.int64))
    assert report["probes"] == 16 and report["recall"] == 0.9 and "0.9000" in report["recall_warning"]


def test_without_real_pairs_made_ones_decide():
    made = np.array([1] * 90 + [5] * 10)
    report = choose_probes(np.zeros((200, 17), np.int64), made)
    assert report["probes"] == 5 and report["recall"] is None and report["recall_at_threshold"] == 1.0


def test_recall_is_the_lower_of_two_means():
    needed = np.zeros((2, 3), np.int64)
    needed[0, 0], needed[1, 1] = 98, 2
    # Over pairs 0.98 with one probe, over queries only 0.5.
    assert recall_of(needed).tolist() == [0.5, 1.0]
