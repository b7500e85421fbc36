"""What vectors have in common with a background set. No Spark."""

from __future__ import annotations

import numpy as np
import pytest

from imgdedup_spark.kernels.cosine.background import in_common


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_the_mean_of_the_three_highest_cosines(size):
    random = np.random.default_rng(size)
    vectors, background = (unit(random.standard_normal((count, 64))) for count in (1100, size))
    cosines = np.sort(vectors.astype(np.float64) @ background.T.astype(np.float64), axis=1)[:, -3:]
    np.testing.assert_allclose(in_common(vectors, background), cosines.mean(axis=1), atol=1e-7)


def test_does_not_depend_on_what_stands_beside_it():
    random = np.random.default_rng(0)
    vectors, background = (unit(random.standard_normal((count, 512))) for count in (300, 900))
    whole = in_common(vectors, background)
    assert np.concatenate([in_common(vectors[i : i + 1], background) for i in range(300)]).tolist() == whole.tolist()
    assert in_common(vectors, background[random.permutation(900)]).tolist() == whole.tolist()


def test_copies_in_the_background_count_each():
    vectors = unit(np.eye(4))
    assert in_common(vectors, np.repeat(vectors[:1], 3, axis=0)).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert in_common(vectors[:1], vectors).tolist() == [pytest.approx(1 / 3)]
