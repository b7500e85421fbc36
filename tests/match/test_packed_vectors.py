"""The first-come rule over embeddings that one process holds, against a loop."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from imgdedup_spark.kernels.barred import pack_pairs
from imgdedup_spark.match import packed_vectors
from imgdedup_spark.match.packed_vectors import first_come_by_cosine

COUNT, IMAGES, DIMS, SIMILARITY = 900, 2, 32, 0.85
BARRED = pack_pairs(np.array([[1, 2], [2, 3], [1, 4]]))


def chains(seed: int, images: int) -> np.ndarray:
    """Rows of a few motifs, some of them so many that no short list of neighbours decides about them."""
    random = np.random.default_rng(seed)
    motifs = np.random.default_rng(99).standard_normal((12, images, DIMS))
    rows = motifs[random.integers(12, size=COUNT)] + 0.35 * random.standard_normal((COUNT, images, DIMS))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32).reshape(COUNT, images * DIMS)


def background_set(seed: int) -> np.ndarray:
    """Vectors of which some are rather near to some motifs."""
    motifs = np.random.default_rng(99).standard_normal((12, DIMS))
    vectors = motifs[:4].repeat(3, axis=0) + 2 * np.random.default_rng(seed).standard_normal((12, DIMS))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def loop(vectors, contexts, references, images, among, numbers, background):
    parts = vectors.reshape(COUNT, images, DIMS).astype(np.float64)
    kept, keeper, cosine = list(range(references)), np.arange(COUNT), np.ones(COUNT)
    for row in range(references, COUNT):
        candidates = np.array(kept if among else range(references), dtype=int)
        found = np.einsum("kid,id->ki", parts[candidates], parts[row])
        if background is not None:
            found = found - np.sort(parts[row] @ background.T.astype(np.float64), axis=1)[:, -3:].mean(axis=1)
            found[(parts[candidates] == parts[row]).all(axis=(1, 2))] = 1.0
        found = found.min(axis=1)
        for other, similarity in zip(candidates, found, strict=True):
            pair = (min(numbers[row], numbers[other]) << 32) | max(numbers[row], numbers[other])
            if similarity >= SIMILARITY - 1e-6 and contexts[row] == contexts[other] and pair not in BARRED:
                keeper[row], cosine[row] = other, min(similarity, 1.0)
                break
        else:
            kept.append(row)
    return keeper, cosine


@pytest.mark.parametrize("references", [0, 200])
@pytest.mark.parametrize("images", [1, IMAGES])
@pytest.mark.parametrize("among", [True, False])
@pytest.mark.parametrize("prefiltered", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_equals_the_loop(monkeypatch, references, images, among, prefiltered, normalised):
    background = background_set(7) if normalised else None
    monkeypatch.setattr(sys.modules[__name__], "SIMILARITY", 0.55 if normalised else SIMILARITY)
    monkeypatch.setattr(packed_vectors, "_CAP", 2)
    if prefiltered:
        monkeypatch.setattr(packed_vectors, "PREFILTER_FROM", 0)
    vectors, random = chains(references + images, images), np.random.default_rng(5)
    contexts = random.integers(3, size=COUNT)
    numbers = random.choice([0, 0, 1, 2, 3, 4], COUNT)
    each = vectors.reshape(COUNT, images, -1)
    found = first_come_by_cosine(
        each, contexts, SIMILARITY, references, among=among, background=background, numbers=numbers, barred=BARRED
    )
    keeper, cosine = loop(vectors, contexts, references, images, among, numbers, background)
    assert found is not None
    assert (keeper != np.arange(COUNT)).sum() > (100 if among or references else -1)
    np.testing.assert_array_equal(found.keeper, keeper)
    np.testing.assert_allclose(1 - found.distances, cosine, atol=1e-6)
    if among and not references:
        assert found.plan["rounds"] > 1


def test_the_highest_cosine_of_each(monkeypatch):
    vectors = chains(1, 1)
    contexts = np.where(np.arange(COUNT) < COUNT - 1, np.arange(COUNT) % 2, 7)
    found = first_come_by_cosine(vectors[:, None], contexts, SIMILARITY, 300, want_max=True)
    cosines = vectors.astype(np.float64) @ vectors.T
    cosines[contexts[:, None] != contexts[None, :]] = -2
    np.fill_diagonal(cosines, -2)
    assert found is not None and found.highest is not None
    np.testing.assert_allclose(found.highest[300:-1], cosines.max(axis=1)[300:-1], atol=2e-5)
    assert np.isnan(found.highest[-1])


def test_the_highest_is_rounded_as_spark_rounds():
    # 0.953125 is a tie.
    vectors = np.array([[1, 0], [61 / 64, 0]], np.float32)
    found = first_come_by_cosine(vectors[:, None], np.zeros(2, np.int64), 1.0, 0, want_max=True)
    assert found is not None and found.highest is not None
    assert found.highest.tolist() == [0.95313, 0.95313]


def test_too_much_work_is_left_to_others(monkeypatch):
    monkeypatch.setattr(packed_vectors, "MOST_PAIRS", COUNT)
    assert first_come_by_cosine(chains(0, 1)[:, None], np.zeros(COUNT, np.int64), SIMILARITY, 0) is None
    assert first_come_by_cosine(chains(0, 1)[:, None], np.arange(COUNT), SIMILARITY, 0) is not None
