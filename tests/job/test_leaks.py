"""``imgdedup leaks`` and ``find_leaks``: every row that is in another split, whatever stays of either."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from split_cases import THRESHOLD, chains, check_pair, matrix

from imgdedup_spark import DedupConfig, find_leaks
from imgdedup_spark.cli import main
from imgdedup_spark.clock import Clock
from imgdedup_spark.commands import leaks
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small
from imgdedup_spark.read.frames import frame_source
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.workspace import SessionWorkspace
from imgdedup_spark.splits import _by_spark, look_at

pytestmark = pytest.mark.spark


def by_spark(frames, config):
    """The rows of the first split that are in the second one, as Spark finds them."""
    work = SessionWorkspace()
    sources = {name: frame_source(frame, "id", work.freeze) for name, frame in frames.items()}
    one, other = look_at(sources, replace(config, id_col="id"), work, Clock())
    found = to_driver(_by_spark(one, other, work)).to_pylist()
    work.close()
    return found


def test_every_row_with_a_partner_is_found_by_spark(spark):
    splits = {"test": chains(2, 60), "train": chains(1, 120)}
    expected = matrix(splits)["test"]["train"]
    assert 10 < expected < 60  # or it would prove little
    frames = {name: spark.createDataFrame(rows, "id string, hash string, text string") for name, rows in splits.items()}
    pairs = by_spark(frames, DedupConfig(hash_col="hash", text_col="text", threshold=THRESHOLD))
    assert len(pairs) == expected == len({pair["id"] for pair in pairs})
    tests, train = ({row[0]: row for row in rows} for rows in splits.values())
    for pair in pairs:
        check_pair(tests[pair["id"]], train[pair["other_id"]], pair, splits["train"])


@pytest.mark.long
def test_equal_rows_of_every_split_by_spark(spark, monkeypatch):
    monkeypatch.setattr(small, "MOST_ROWS", 0)
    splits = {"train": ["a1", "a1", "b2", None], "test": ["b2", "b2", "c3", "b2"]}
    frames = {
        name: spark.createDataFrame([(row, one) for row, one in enumerate(hashes)], "id bigint, hash string")
        for name, hashes in splits.items()
    }
    found = find_leaks(frames.pop("train"), frames, DedupConfig(hash_col="hash"), id_col="id")
    assert "test: 3 of 4 rows (75.00%) are in train, 3 of them with equal hashes" in str(found)
    assert found.leaked == 3 and found.matrix == {"train": {"train": 1, "test": 1}, "test": {"train": 3, "test": 2}}
    pairs = {(row["split"], row["id"], row["other_split"], row["other_id"]) for row in found.pairs.collect()}
    assert {one for one in pairs if one[0] == one[2]} == {
        ("train", "1", "train", "0"),
        ("test", "1", "test", "0"),
        ("test", "3", "test", "0"),
    }
    assert ("train", "2", "test", "0") in pairs and ("test", "3", "train", "2") in pairs
    found.close()


def test_embeddings(spark):
    """Each row's partner counts, also one that is near another row of its own split."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(6, 8))
    splits = {}
    for name, count in (("test", 20), ("train", 30)):
        vectors = centers[rng.integers(0, 6, count)] + 0.3 * rng.normal(size=(count, 8))
        splits[name] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    splits["test"][3] = splits["train"][5]
    frames = {
        name: spark.createDataFrame(
            [(number, vector.tolist()) for number, vector in enumerate(vectors)], "id bigint, v array<float>"
        )
        for name, vectors in splits.items()
    }
    found = by_spark(frames, DedupConfig(method="clip", embedding_col="v", similarity=0.9))
    cosines = splits["test"] @ splits["train"].T
    assert {int(row["id"]) for row in found} == set(np.flatnonzero((cosines >= 0.9).any(axis=1)).tolist())
    assert 3 < len(found) < 20
    pairs = {int(row["id"]): row for row in found}
    assert all(abs(cosines[one, int(row["other_id"])] - (1 - row["distance"])) < 1e-5 for one, row in pairs.items())
    assert pairs[3]["other_id"] == "5" and {row["reason"] for row in found} == {"near_embedding"}


def test_a_larger_split_without_a_usable_embedding(spark):
    rows = {"train": [[0.0, 0.0]] * 3, "test": [[1.0, 0.0], [1.0, 0.0]]}
    frames = {
        name: spark.createDataFrame(list(enumerate(vectors)), "id bigint, v array<float>")
        for name, vectors in rows.items()
    }
    config = DedupConfig(method="clip", embedding_col="v", on_error="keep")
    found = find_leaks(frames["train"], {"test": frames["test"]}, config, id_col="id")
    assert found.matrix == {"train": {"train": 0, "test": 0}, "test": {"train": 0, "test": 1}}
    found.close()


@pytest.fixture
def command(spark):
    """Runs ``imgdedup leaks`` in the test's session: the exit status."""

    @contextlib.contextmanager
    def session(_):
        yield spark

    return lambda *arguments: leaks.run([str(one) for one in arguments], session)


def test_the_command(command, photos, tmp_path, capsys):
    """Pictures, views, errors, an output, and a file that two splits share."""
    for split, letters in {"train": "ABC", "val": "C", "test": "AD"}.items():
        (tmp_path / split).mkdir()
        table = pa.table({"image": [*(photos[one] for one in letters), b"no picture"]})
        pq.write_table(table, tmp_path / split / "rows.parquet")
    given = ["--train", tmp_path / "train", "--test", tmp_path / "test", "--test", tmp_path / "val" / "*.parquet"]
    given += ["--test", f"again={tmp_path / 'train' / 'rows.parquet'}", "--preset", "balanced"]
    assert command(*given, "--output", tmp_path / "out", "--fail-on-leak") == 4
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said[:5]] == [
        ["rows", "of", "rows", "in", "train", "in", "test", "in", "val", "in", "again"],
        ["train", "4", "0", "1", "1", "3"],
        ["test", "3", "1", "0", "0", "1"],
        ["val", "2", "1", "0", "0", "1"],
        ["again", "4", "3", "1", "1", "0"],
    ]
    assert "test: 1 of 3 rows (33.33%) are in train, 1 of them with equal hashes" in said
    assert any(line.startswith("train and again both read 1 file, such as ") for line in said)
    pairs = pq.read_table(tmp_path / "out" / "pairs").to_pylist()
    assert len(pairs) == 14
    assert pairs[0] == {
        "split": "train", "id": "rows.parquet#0", "other_split": "test", "other_id": "rows.parquet#0",
        "distance": 0.0, "reason": "same_hash",
    }  # fmt: skip
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["leaked"] == 5 and summary["matrix"]["val"]["train"]["rows"] == 1
    assert [one["rows_with_errors"] for one in summary["splits"]] == [1, 1, 1, 1]
    assert not (tmp_path / "out" / "_staging").exists()


@pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="the command line starts classic Spark")
def test_from_the_command_line(spark, photos, tmp_path, capsys):
    for split, letter in (("train", "A"), ("test", "D")):
        (tmp_path / split).mkdir()
        for name in "ab":
            (tmp_path / split / f"{name}.jpg").write_bytes(photos[letter])
    given = ["--train", str(tmp_path / "train"), "--test", str(tmp_path / "test"), "--fail-on-leak"]
    assert main(["leaks", *given, "--test", "a", "--hash-size", "1"]) == 2
    capsys.readouterr()
    assert main(["leaks", *given, "--no-within"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:3]] == [
        ["train", "2", "-", "0"],
        ["test", "2", "0", "-"],
    ]


def test_mistakes_name_the_split(command, photos, tmp_path):
    (tmp_path / "a.parquet").touch()
    pq.write_table(pa.table({"image": [photos["A"]]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"^test: .*nothing: "):
        command("--train", tmp_path / "a.parquet", "--test", f"test={tmp_path / 'nothing'}")
    with pytest.raises(UserError, match=r"^a: --id-col: there is no column `x`"):
        command("--train", tmp_path / "a.parquet", "--test", f"b={tmp_path / 'a.parquet'}", "--id-col", "x")
