"""A run decided in the driver and one decided by Spark give the same, on the same data."""

from __future__ import annotations

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.hash import small
from imgdedup_spark.kernels.hamming import few
from imgdedup_spark.match import packed
from imgdedup_spark.read.folders import PlacedPictures

pytestmark = pytest.mark.spark

FILES, ROWS = 3, 120


@pytest.fixture
def rows(tmp_path):
    """Hashes near each other in chains, equal ones, missing and broken ones, with texts and scores that tie."""
    rng = random.Random(7)
    centers = [rng.getrandbits(64) for _ in range(25)]
    folder = tmp_path / "in"
    folder.mkdir()
    for file in range(FILES):
        hashes, texts, scores = [], [], []
        for _ in range(ROWS):
            value = rng.choice(centers)
            for _ in range(rng.randrange(9)):
                value ^= 1 << rng.randrange(64)
            hashes.append(rng.choice([f"{value:016x}"] * 12 + [None, "", "no hash"]))
            texts.append(rng.choice(["a", "b", "A", None]))
            scores.append(rng.choice([1.0, 2.0, float("nan"), None]))
        table = pa.table({"h": hashes, "t": texts, "s": pa.array(scores, pa.float64(), from_pandas=False)})
        pq.write_table(table, folder / f"part-{file}.parquet", row_group_size=50)
    return folder


READY = ("--hash-col", "h", "--on-error", "keep")
EQUAL, NEAR = (), ("--threshold", 4)
WITH_TEXT = (*NEAR, "--text-col", "t", "--text-normalize", "lowercase")
BY_RULE = ("--threshold", 6, "--keep", "s desc", "--missing", "duplicates")


@pytest.mark.parametrize(
    ("options", "with_index"),
    [
        pytest.param(EQUAL, False, id="equal"),
        pytest.param(WITH_TEXT, False, id="near-with-text"),
        pytest.param(BY_RULE, False, id="near-by-rule"),
        pytest.param(EQUAL, True, id="equal-after-others", marks=pytest.mark.long),
        pytest.param(WITH_TEXT, True, id="near-after-others", marks=pytest.mark.long),
    ],
)
def test_both_sides_of_the_bound_agree(rows, run, tmp_path, monkeypatch, options, with_index):
    agree(rows, run, tmp_path, monkeypatch, (*READY, *options), with_index)


def agree(rows, run, tmp_path, monkeypatch, options, with_index):
    """A run here and one by Spark give the same."""
    results = []
    for side in ("here", "spark"):
        if side == "spark":
            monkeypatch.setattr(small, "MOST_ROWS", -1)
        if with_index:
            first, rest = rows / "part-0.parquet", [rows / "part-1.parquet", rows / "part-2.parquet"]
            index = ("--index", tmp_path / f"index-{side}")
            run(first, *options, *index, "--run-id", "one")
            results.append(run(rest, *options, *index, "--run-id", "two"))
        else:
            results.append(run(rows, *options))
    if with_index:
        assert of_index(tmp_path / "index-here") == of_index(tmp_path / "index-spark")
    here, spark = results
    for name in ("duplicates", "hashes", "errors"):
        tables = [sorted(map(repr, result.table(name))) for result in results]
        assert tables[0] == tables[1], name
    assert [repr(row) for row in here.kept] == [repr(row) for row in spark.kept]
    assert here.summary["rows_dropped"] > 5
    for name in ("rows_kept", "groups", "largest_group", "distances", "rows_with_errors", "images", "frames", "inputs"):
        assert here.summary.get(name) == spark.summary.get(name), name


@pytest.fixture
def embedded(tmp_path):
    """Vectors near each other in chains, equal ones, missing and broken ones, with texts and scores that tie."""
    chance = np.random.default_rng(7)
    motifs = chance.standard_normal((30, 16))
    folder = tmp_path / "in"
    folder.mkdir()
    for file in range(FILES):
        vectors = motifs[chance.integers(30, size=ROWS)] + 0.3 * chance.standard_normal((ROWS, 16))
        vectors[1::9] = vectors[::9][: len(vectors[1::9])]
        values = [one.tolist() for one in vectors]
        for row, bad in enumerate((None, [], [0.0] * 16, [1.0, 2.0], None)):
            values[11 * row + 5] = bad
        texts = chance.choice(["a", "b", None], ROWS).tolist()
        # Copies that nothing else is compared with.
        texts[:2] = [f"own {file}"] * 2
        scores = chance.choice([1.0, 2.0, np.nan], ROWS)
        table = {"v": pa.array(values, pa.list_(pa.float32())), "t": texts, "s": pa.array(scores)}
        pq.write_table(pa.table(table), folder / f"part-{file}.parquet", row_group_size=50)
    return folder


VECTORS = ("--method", "clip", "--embedding-col", "v", "--similarity", 0.9, "--on-error", "keep")
VECTORS_BY_RULE = ("--text-col", "t", "--keep", "s desc", "--missing", "duplicates")


@pytest.mark.parametrize(
    ("options", "with_index"),
    [
        pytest.param((), False, id="near"),
        pytest.param(("--emit-hashes", "--text-col", "t"), False, id="with-the-highest"),
        pytest.param(VECTORS_BY_RULE, False, id="near-with-text-by-rule"),
        pytest.param(("--text-col", "t"), True, id="near-after-others"),
    ],
)
@pytest.mark.long
def test_embeddings_agree_on_both_sides(embedded, run, tmp_path, monkeypatch, options, with_index):
    agree(embedded, run, tmp_path, monkeypatch, (*VECTORS, *options), with_index)


@pytest.mark.parametrize("options", [(), ("--output-format", "parquet", "--on-error", "drop")])
def test_kept_rows_of_a_folder_are_written_alike_on_both_sides(run, photos, tmp_path, monkeypatch, options):
    """Those that the driver knows, metadata of all kinds among them."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["a.jpg", "Z.jpg", "é 1.jpg", "copy.jpg", "none.jpg", "bad.jpg"]
    for name, data in zip(names, [*map(photos.get, "ABCA"), photos["E"], b"no picture"], strict=True):
        (folder / name).write_bytes(data)
    said = [1e10, 0.1, 1e-7, -0.0, 5]
    lines = [
        {"file_name": name, "n": number, "big": 2**62 + number, "text": f'"{name}"\n', "in": {"x": [number, None]}}
        for name, number in zip(names, said, strict=False)
    ]
    lines[1] |= {"any": [1, {"a": "b"}], "day": True, "only": None}
    lines[2] |= {"any": "word", "day": None}
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    written = []
    for side in ("here", "spark"):
        with monkeypatch.context() as patched:
            if side == "here":
                patched.setattr(PlacedPictures, "kept_in_order", None)
            else:
                patched.setattr(small, "MOST_ROWS", -1)
            result = run(folder, *options)
        kept = sorted((result.folder / "kept").glob("part-*"))
        lines_kept = b"".join(one.read_bytes() for one in kept)
        written.append(pq.read_table(kept[0]).to_pylist() if "parquet" in options else lines_kept)
        assert result.summary["rows_kept"] == (4 if "drop" in options else 5)
    assert written[0] == written[1]


def test_rows_of_many_pictures_are_measured_by_all_of_them(spark, monkeypatch):
    frame = spark.createDataFrame([(bytes(4000),)] * 5 + [(None,)], "vector binary")
    monkeypatch.setattr(small, "MOST_BYTES", 20_000)
    assert small.fits(frame, 6)
    monkeypatch.setattr(small, "MOST_BYTES", 19_999)
    assert not small.fits(frame, 6) and small.fits(frame.withColumnRenamed("vector", "imagehash"), 6)
    monkeypatch.setattr(small, "MOST_ROWS", 5)
    assert not small.fits(frame.withColumnRenamed("vector", "imagehash"), 6)


def of_index(folder):
    """Rows, blocks and what the last manifest says of them."""
    rows = [pq.ParquetFile(one).read() for one in sorted(folder.glob("data/*/*/*.parquet"))]
    rows = sorted(repr(row) for table in rows for row in table.to_pylist())
    blocks = [pq.ParquetFile(one).read() for one in folder.glob("packed/*/*.parquet")]
    packed = [
        (row["run"], row["images"], row["rows"], position, code)
        for table in blocks
        for row in table.to_pylist()
        for position, code in zip(
            np.frombuffer(row["positions"], np.int64).tolist(),
            np.frombuffer(row["codes"], f"S{len(row['codes']) // row['rows']}").tolist(),
            strict=True,
        )
    ]
    runs = json.loads(max(folder.glob("manifests/*.json")).read_text())["runs"]
    told = [{name: one[name] for name in ("run", "rows", "distinct", "digits")} for one in runs]
    return rows, sorted(packed), told, [bool(one["packed"]) for one in runs]


def test_what_takes_one_core_too_long_goes_to_spark(rows, run, monkeypatch):
    options = (*READY, *NEAR)
    here = run(rows, *options)
    monkeypatch.setattr(few, "MOST_PAIRS", -1)
    monkeypatch.setattr(packed, "MOST_SECONDS", -1.0)
    spark = run(rows, *options)
    assert (here.summary["plan"]["path"], spark.summary["plan"]["path"]) == ("at once", "broadcast")
    assert here.dropped == spark.dropped
