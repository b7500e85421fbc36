"""Embeddings through the whole job and the Python API, against a first-come loop in NumPy."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoders import EDITS, PHOTOGRAPHS, encoded, photograph, save_clip

from imgdedup_spark import DedupConfig, ImageHasher, UserError, deduplicate, hash_bytes
from imgdedup_spark.embeddings.cosine import TOLERANCE

pytestmark = pytest.mark.spark

VECTORS = ("--method", "clip", "--embedding-col", "v", "--id-col", "id")


def clustered(count, seed=0, dims=32):
    """Vectors of any length around some directions, with copies."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((max(count // 8, 1), dims))
    noise = random.choice([0.0, 0.1, 0.3, 0.6], (count, 1)) * random.standard_normal((count, dims))
    vectors = (centres[random.integers(len(centres), size=count)] + noise) * random.uniform(0.5, 20, (count, 1))
    return vectors.astype(np.float32)


def write(path, vectors, ids=None, **more):
    ids = list(range(len(vectors))) if ids is None else list(ids)
    values = pa.array([None if one is None else list(map(float, one)) for one in vectors], pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ids, "v": values, **more}), path, row_group_size=700)
    return path


def loop(cosine, count, similarity, order=None):
    """First come, first served: dropped → (keeper, cosine). ``cosine(row, rows)`` gives an array."""
    kept, dropped = [], {}
    for row in range(count) if order is None else order:
        close = cosine(row, kept) if kept else np.zeros(0)
        found = np.flatnonzero(close >= similarity - TOLERANCE)
        if len(found):
            dropped[row] = (kept[found[0]], close[found[0]])
        else:
            kept.append(row)
    return dropped


def cosines_of(vectors):
    units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return units @ units.T


def check(result, expected):
    rows = {row["id"]: row for row in result.table("duplicates")}
    assert {name: row["kept_id"] for name, row in rows.items()} == {row: kept for row, (kept, _) in expected.items()}
    for name, row in rows.items():
        assert row["similarity"] == pytest.approx(expected[name][1], abs=1e-5)
        assert row["distance"] == pytest.approx(1 - row["similarity"], abs=1e-12)
        assert row["reason"] == "near_embedding"


def test_five_thousand_ready_vectors_equal_the_loop(run, tmp_path):
    vectors = clustered(5000)
    result = run(write(tmp_path / "in.parquet", vectors), *VECTORS, "--emit-hashes", "--show-num", 3)
    cosines = cosines_of(vectors)
    expected = loop(lambda row, others: cosines[row, others], 5000, 0.9)
    assert 1000 < len(expected) < 4900
    check(result, expected)
    assert result.ids() == [row for row in range(5000) if row not in expected]
    np.fill_diagonal(cosines, -2)
    for row in result.kept:
        assert row["max_similarity"] == pytest.approx(cosines[row["id"]].max(), abs=2e-5)
    assert list(result.kept[0]) == ["id", "v", "imagehash", "texthash", "max_similarity"]

    summary = result.summary
    assert summary["rows_dropped"] == len(expected) == sum(summary["distances"].values())
    assert summary["plan"]["path"] == "all_pairs" and summary["plan"]["recall"] == 1.0
    assert max(float(one) for one in summary["distances"]) <= 0.1
    hashes = result.table("hashes")
    unit = vectors[7] / np.linalg.norm(vectors[7])
    assert hashes[7]["embedding"] == pytest.approx(unit, abs=1e-6) and hashes[7]["imagehash"] is None
    assert [pair["group_size"] for pair in result.lines("pairs")][0] >= 2

    # The same loop, its cosines computed by somebody else.
    metrics = pytest.importorskip("sklearn.metrics.pairwise")
    theirs = metrics.cosine_similarity(vectors)
    check(result, loop(lambda row, others: theirs[row, others], 5000, 0.9))
