"""First-come matching of embeddings through Spark, against a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from imgdedup_spark.match.by_cosine.first_come import first_come, with_background
from imgdedup_spark.match.by_cosine.search import CosineOptions

pytestmark = pytest.mark.spark

SCHEMA = "rank bigint, vector binary, context binary"

# Segments of 600 vectors of 64, so that a few thousand are cut into many tasks.
SMALL_SEGMENTS = CosineOptions(segment_bytes=600 * 256, min_segment_bytes=1)
CELLS = CosineOptions(all_pairs_limit=0, whole_context=100, segment_bytes=4000 * 256, min_segment_bytes=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(seed: int, count: int, clusters: int = 60) -> np.ndarray:
    centres = np.random.default_rng(99).standard_normal((clusters, 64))
    random = np.random.default_rng(seed)
    noise = random.choice([0.1, 0.3, 0.6], (count, 1)) * random.standard_normal((count, 64))
    return unit(centres[random.integers(clusters, size=count)] + noise)


def frame(spark: Any, vectors: np.ndarray, ranks: np.ndarray, contexts: list[bytes] | None = None) -> DataFrame:
    contexts = contexts or [b""] * len(vectors)
    rows = [(int(r), v.tobytes(), c) for r, v, c in zip(ranks, vectors, contexts, strict=True)]
    return spark.createDataFrame(rows, SCHEMA)


@pytest.fixture
def stage(spark: Any, tmp_path: Any) -> Any:
    def write_and_read(name: str, rows: DataFrame) -> DataFrame:
        rows.write.parquet(str(tmp_path / name))
        return spark.read.parquet(str(tmp_path / name))

    return write_and_read


def loop(
    vectors: np.ndarray,
    ranks: np.ndarray,
    similarity: float,
    contexts: list[bytes] | None = None,
    references: tuple[np.ndarray, np.ndarray, list[bytes]] | None = None,
) -> dict[int, tuple[int | None, bool, float]]:
    """First come, first served: rank → (keeper, is it a reference, similarity)."""
    contexts = contexts or [b""] * len(vectors)
    kept: list[tuple[int, bool, bytes]] = []
    kept_vectors = np.zeros((0, vectors.shape[1]))
    if references is not None:
        order = np.argsort(references[1])
        kept = [(int(references[1][i]), True, references[2][i]) for i in order]
        kept_vectors = references[0][order].astype(np.float64)
    result: dict[int, tuple[int | None, bool, float]] = {}
    for i in np.argsort(ranks):
        cosines = kept_vectors @ vectors[i].astype(np.float64)
        close = np.flatnonzero(cosines >= similarity - 1e-6)
        close = [k for k in close if kept[k][2] == contexts[i]]
        if close:
            result[int(ranks[i])] = (*kept[close[0]][:2], min(float(cosines[close[0]]), 1.0))
        else:
            kept.append((int(ranks[i]), False, contexts[i]))
            kept_vectors = np.concatenate([kept_vectors, vectors[i : i + 1].astype(np.float64)])
            result[int(ranks[i])] = (None, False, 1.0)
    return result


def check(decisions: DataFrame, expected: dict[int, tuple[int | None, bool, float]], within: float = 1e-9) -> None:
    rows = decisions.collect()
    assert len(rows) == len(expected)
    got = {row["rank"]: (row["keeper"], row["is_reference"]) for row in rows}
    assert got == {rank: one[:2] for rank, one in expected.items()}
    for row in rows:
        assert row["similarity"] == pytest.approx(expected[row["rank"]][2], abs=within)


@pytest.mark.long
def test_five_thousand_equal_the_loop(spark, stage):
    vectors, ranks = clustered(0, 5000), np.random.default_rng(0).permutation(5000) * 7 - 300
    decisions, report = first_come(frame(spark, vectors, ranks), 0.9, stage=stage)
    expected = loop(vectors, ranks, 0.9)
    check(decisions, expected)
    dropped = sum(one[0] is not None for one in expected.values())
    assert 1000 < dropped < 4000
    assert report["path"] == "all_pairs" and report["recall"] == 1.0 and report["dropped"] == dropped
    assert report["all_pairs_comparisons"] == 5000 * 4999 // 2


@pytest.mark.long
def test_segments_contexts_references_and_highest(spark, stage):
    vectors, ranks = clustered(1, 3000), np.random.default_rng(1).permutation(3000)
    contexts = [b"%d" % (i % 2 if i < 2500 else i) for i in range(3000)]
    references, reference_ranks = clustered(2, 800), np.random.default_rng(2).permutation(800)
    reference_contexts = [b"%d" % (i % 3) for i in range(800)]
    decisions, report = first_come(
        frame(spark, vectors, ranks, contexts).repartition(5),
        0.85,
        stage=stage,
        references=frame(spark, references, reference_ranks, reference_contexts),
        want_max=True,
        options=SMALL_SEGMENTS,
    )
    decisions = decisions.cache() if hasattr(decisions, "cache") else decisions
    expected = loop(vectors, ranks, 0.85, contexts, (references, reference_ranks, reference_contexts))
    check(decisions, expected)
    assert any(one[1] for one in expected.values())
    assert report["references"] == 800

    everyone, where = np.concatenate([vectors, references]).astype(np.float64), np.array(contexts + reference_contexts)
    cosines = everyone[:3000] @ everyone.T
    cosines[where[:3000, None] != where[None, :]] = -2
    np.fill_diagonal(cosines, -2)
    highest = cosines.max(axis=1)
    got = {row["rank"]: row["max_similarity"] for row in decisions.collect()}
    for rank, value in zip(ranks.tolist(), highest.tolist(), strict=True):
        assert got[rank] is None if value == -2 else got[rank] == pytest.approx(value, abs=2e-5)


def test_rows_of_two_images(spark, stage):
    first, second = clustered(10, 800, clusters=3), clustered(11, 800, clusters=20)
    both = np.concatenate([first, second], axis=1)
    decisions, _ = first_come(frame(spark, both, np.arange(800)), 0.8, stage=stage, images=2, options=SMALL_SEGMENTS)
    one, two = (vectors.astype(np.float64) @ vectors.T.astype(np.float64) for vectors in (first, second))
    least, kept, expected = np.minimum(one, two), [], {}
    for row in range(800):
        close = [other for other in kept if least[row, other] >= 0.8 - 1e-6]
        expected[row] = close[0] if close else None
        kept += [] if close else [row]
    assert {row["rank"]: row["keeper"] for row in decisions.collect()} == expected
    assert 50 < len(kept) < 750


@pytest.mark.parametrize("options", [SMALL_SEGMENTS, CELLS])
@pytest.mark.long
def test_score_normalisation(spark, stage, options):
    vectors, references, background = clustered(12, 1500), clustered(13, 200), clustered(14, 30, clusters=7)
    items = with_background(frame(spark, vectors, np.arange(1500)), background, 1)
    decisions, report = first_come(
        items, 0.4, stage=stage, references=frame(spark, references, np.arange(200)), options=options
    )
    everyone = np.concatenate([references, vectors]).astype(np.float64)
    common = np.sort(everyone @ background.T.astype(np.float64), axis=1)[:, -3:].mean(axis=1)
    kept, expected = list(range(200)), {}
    for row in range(200, 1700):
        scores = everyone[kept] @ everyone[row] - common[row]
        close = np.flatnonzero(scores >= 0.4 - 1e-6)
        if len(close):
            other = kept[close[0]]
            expected[row - 200] = (other - 200 * (other >= 200), other < 200, min(scores[close[0]], 1.0))
        else:
            kept.append(row)
            expected[row - 200] = (None, False, 1.0)
    if options is CELLS:
        found = {row["rank"]: row["keeper"] for row in decisions.collect()}
        same = [found[rank] == keeper for rank, (keeper, _, _) in expected.items()]
        assert report["path"] == "blocked" and np.mean(same) > 0.95
    else:
        check(decisions, expected, within=1e-7)
    kinds = [(keeper is None, is_reference) for keeper, is_reference, _ in expected.values()]
    assert len(set(kinds)) == 3 and 100 < kinds.count((True, False)) < 1300


def test_many_references_and_few_items(spark, stage):
    vectors, ranks = clustered(3, 100), np.arange(100)
    references, reference_ranks = clustered(4, 3000), np.random.default_rng(4).permutation(3000)
    decisions, report = first_come(
        frame(spark, vectors, ranks),
        0.9,
        stage=stage,
        references=frame(spark, references, reference_ranks),
        options=SMALL_SEGMENTS,
    )
    check(decisions, loop(vectors, ranks, 0.9, None, (references, reference_ranks, [b""] * 3000)))
    # The references are not compared among themselves.
    assert report["comparisons"] <= 100 * 3100


@pytest.mark.long
def test_the_result_does_not_depend_on_partitions_or_segments(spark, stage, tmp_path):
    vectors, ranks = clustered(5, 2000, clusters=8), np.arange(2000)
    rows = frame(spark, vectors, ranks)

    def run(number: int, items: DataFrame, options: CosineOptions) -> list[Any]:
        def numbered(name: str, frozen: DataFrame) -> DataFrame:
            return stage(f"{name}_{number}", frozen)

        decisions, _ = first_come(items, 0.88, stage=numbered, options=options)
        return sorted(tuple(row) for row in decisions.collect())

    whole = run(1, rows.coalesce(1), CosineOptions())
    assert run(2, rows.repartition(7), SMALL_SEGMENTS) == whole


def test_a_chain_of_frames_of_one_video(spark, stage):
    """Each frame is close to the next 20: most neighbours of a frame are dropped, and lists of them run out."""
    angle = np.arange(1500) * (np.arccos(0.9) / 20.5)
    turning = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vectors = unit(np.concatenate([turning, np.zeros((1500, 62))], axis=1))
    ranks = np.random.default_rng(0).permutation(1500)
    decisions, _ = first_come(frame(spark, vectors, ranks), 0.9, stage=stage, options=SMALL_SEGMENTS)
    check(decisions, loop(vectors, ranks, 0.9))


def test_cells_keep_the_promise_and_say_their_recall(spark, stage):
    vectors, ranks = clustered(6, 6000, clusters=900), np.random.default_rng(6).permutation(6000)
    contexts = [b"a" if i < 5900 else b"b" for i in range(6000)]
    decisions, report = first_come(frame(spark, vectors, ranks, contexts), 0.9, stage=stage, options=CELLS)
    rows = {row["rank"]: row for row in decisions.collect()}
    place = {int(rank): i for i, rank in enumerate(ranks)}
    for rank, row in rows.items():
        if row["keeper"] is None:
            continue
        assert rows[row["keeper"]]["keeper"] is None and row["keeper"] < rank
        cosine = float(vectors[place[rank]].astype(float) @ vectors[place[row["keeper"]]].astype(float))
        assert cosine >= 0.9 - 1e-6 and row["similarity"] == pytest.approx(min(cosine, 1), abs=1e-9)
        assert contexts[place[rank]] == contexts[place[row["keeper"]]]
    expected = loop(vectors, ranks, 0.9, contexts)
    dropped, all_dropped = report["dropped"], sum(one[0] is not None for one in expected.values())
    assert report["path"] == "blocked" and report["recall_pairs"] > 100
    assert report["recall"] >= 0.99 and dropped >= 0.98 * all_dropped
    assert report["cells"] == 153 and report["probes"] < 16


def test_cells_with_references(spark, stage):
    vectors, ranks = clustered(7, 400, clusters=900), np.arange(400)
    references, reference_ranks = clustered(8, 5000, clusters=900), np.random.default_rng(8).permutation(5000)
    items, known = frame(spark, vectors, ranks), frame(spark, references, reference_ranks)
    decisions, report = first_come(items, 0.9, stage=stage, references=known, options=CELLS)
    expected = loop(vectors, ranks, 0.9, None, (references, reference_ranks, [b""] * 5000))
    got = {row["rank"]: (row["keeper"], row["is_reference"]) for row in decisions.collect()}
    same = sum(got[rank] == one[:2] for rank, one in expected.items())
    assert report["path"] == "blocked" and same >= 0.97 * len(expected)
    assert sum(is_reference for _, is_reference in got.values()) > 100


def test_no_rows(spark, stage):
    decisions, report = first_come(spark.createDataFrame([], SCHEMA), 0.9, stage=stage)
    assert decisions.collect() == [] and report["items"] == 0


def test_null_contexts_are_equal_and_copies_match_at_one(spark, stage):
    vector = unit(np.random.default_rng(0).standard_normal((1, 512)))[0].tobytes()
    rows = spark.createDataFrame([(1, vector, None), (2, vector, b""), (3, vector, b"x")], SCHEMA)
    decisions, _ = first_come(rows, 1.0, stage=stage)
    assert {row["rank"]: row["keeper"] for row in decisions.collect()} == {1: None, 2: 1, 3: None}


def test_vectors_of_two_lengths_are_refused(spark, stage):
    rows = spark.createDataFrame([(1, bytes(8), b""), (2, bytes(12), b"")], SCHEMA)
    with pytest.raises(ValueError, match="from 2 to 3"):
        first_come(rows, 0.9, stage=stage)
