"""Data that keeps coming: the index, reference sets, merges."""

from __future__ import annotations

import json
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.files import sharing
from imgdedup_spark.index.manifest import Index, Run

pytestmark = pytest.mark.spark


def clustered(count, seed, spread=6):
    """64-bit hashes in chains and clumps, with copies."""
    dice = random.Random(seed)
    made = [dice.getrandbits(64)]
    while len(made) < count:
        value = dice.choice(made) if dice.random() < 0.8 else dice.getrandbits(64)
        for _ in range(dice.randint(0, spread)):
            value ^= 1 << dice.randrange(64)
        made.append(value)
    return made


def write(path, values, ids=None, **more):
    hashes = [value if isinstance(value, str) else f"{value:016x}" for value in values]
    ids = list(range(len(hashes))) if ids is None else list(ids)
    pq.write_table(pa.table({"id": ids, "h": hashes, **more}), path, row_group_size=40)
    return path


HASHES = ("--hash-col", "h", "--id-col", "id")


@pytest.fixture
def thirds(tmp_path):
    values = clustered(300, seed=1)
    texts = [random.Random(row).choice("ab") for row in range(300)]
    whole = write(tmp_path / "all.parquet", values, text=texts)
    parts = [slice(start, start + 100) for start in (0, 100, 200)]
    days = [
        write(tmp_path / f"day{day}.parquet", values[part], range(300)[part], text=texts[part])
        for day, part in enumerate(parts)
    ]
    return whole, days


def indexed(folder):
    """id → run, of the rows that the index's state names; read as any other tool would."""
    state = Index(str(folder)).read()
    rows = [row for run in state.runs if run.rows for row in pq.read_table(folder / run.folder).to_pylist()]
    assert len(rows) == sum(run.rows for run in state.runs)
    return {row["id"]: row["run"] for row in rows}


@pytest.mark.parametrize(
    "options",
    [(), ("--threshold", 6), ("--threshold", 6, "--text-col", "text"), ("--threshold", 6, "--keep", "text desc")],
    ids=["exact", "near", "near-with-text", "near-by-rule"],
)
def test_three_days_are_as_one_run_over_all(run, thirds, tmp_path, options):
    whole, days = thirds
    once = run(whole, *HASHES, *options)
    results = [run(day, *HASHES, *options, "--index", tmp_path / "index", "--run-id", day.name) for day in days]
    kept = [one for result in results for one in result.ids()]
    if "--keep" not in options:
        # A rule ranks the rows of one run; what an earlier run has kept stays.
        assert kept == once.ids()
        found = {row["id"]: (row["kept_id"], row["distance"]) for one in results for row in one.table("duplicates")}
        assert found == {row["id"]: (row["kept_id"], row["distance"]) for row in once.table("duplicates")}
    assert len(kept) < 290
    assert {int(one) for one in indexed(tmp_path / "index")} == set(kept)
    reasons = [{row["reason"] for row in one.table("duplicates")} for one in results]
    assert "in_index" not in reasons[0] and "in_index" in reasons[2]
    summary = results[2].summary
    assert summary["in_index"] == sum(row["reason"] == "in_index" for row in results[2].table("duplicates")) > 0
    assert summary["run_id"] == "day2.parquet"


def test_the_same_run_again_changes_nothing(run, thirds, tmp_path):
    _, days = thirds
    options = (*HASHES, "--threshold", 6, "--index", tmp_path / "index")
    run(days[0], *options, "--run-id", "one")
    first = run(days[1], *options, "--run-id", "two")
    before = indexed(tmp_path / "index")
    second = run(days[1], *options, "--run-id", "two")
    assert second.kept == first.kept and second.table("duplicates") == first.table("duplicates")
    assert indexed(tmp_path / "index") == before
    # Without an id every run is one of its own: all is there already.
    third = run(days[1], *options)
    assert third.ids() == [] and third.summary["in_index"] == 100
    assert indexed(tmp_path / "index") == before


def test_a_corrected_input_replaces_what_the_run_had_added(run, tmp_path):
    options = (*HASHES, "--index", tmp_path / "index")
    run(write(tmp_path / "a.parquet", ["01", "02"], [1, 2]), *options, "--run-id", "a")
    run(write(tmp_path / "b.parquet", ["02", "03", "04"], [3, 4, 5]), *options, "--run-id", "b")
    assert indexed(tmp_path / "index") == {"1": "a", "2": "a", "4": "b", "5": "b"}
    corrected = write(tmp_path / "b.parquet", ["01", "04", "05"], [3, 4, 5])
    with pytest.raises(UserError, match="not empty"):
        run(corrected, *options, "--run-id", "b", output="out0")
    again = run(corrected, *options, "--run-id", "b", output="out1")
    assert again.ids() == [4, 5] and again.dropped == {3: 1}
    assert indexed(tmp_path / "index") == {"1": "a", "2": "a", "4": "b", "5": "b"}
    folders = [one.name for one in (tmp_path / "index" / "data" / "run=b").iterdir()]
    assert len(folders) == 1
    # An earlier run again, with a row that a later one has.
    earlier = run(write(tmp_path / "a.parquet", ["05", "02"], [1, 2]), *options, "--run-id", "a")
    assert earlier.ids() == [2] and earlier.dropped == {1: 5}
    assert [one.run for one in Index(str(tmp_path / "index")).read().runs] == ["a", "b"]


def test_of_two_runs_at_once_the_second_fails(run, tmp_path, monkeypatch):
    from imgdedup_spark.write.additions import Addition

    options = (*HASHES, "--index", tmp_path / "index")
    path = write(tmp_path / "a.parquet", ["01", "02"])
    run(path, *options, "--run-id", "a")
    write_rows = Addition.write
    other = Run("other", "data/run=other/x", 0, True)

    def meanwhile(self, found, stage, **how):
        added = write_rows(self, found, stage, **how)
        state = self.index.read()
        self.index.commit(state, state.with_run(other, state.spec))
        return added

    monkeypatch.setattr(Addition, "write", meanwhile)
    with pytest.raises(JobError, match="another run has changed it"):
        run(path, *options, "--run-id", "b", output="out-b")
    assert not (tmp_path / "out-b" / "summary.json").exists()
    monkeypatch.undo()
    assert [one.run for one in Index(str(tmp_path / "index")).read().runs] == ["a", "other"]
    assert not list((tmp_path / "index" / "data").glob("run=b/*"))
    run(path, *options, "--run-id", "b", "--overwrite", output="out-b")
    assert indexed(tmp_path / "index") == {"0": "a", "1": "a"}


def test_a_store_on_which_two_may_commit_takes_one_that_says_it_is_alone(run, spark, tmp_path, monkeypatch):
    def refuse(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(sharing, "SETTLE_SECONDS", 0.01)
    write(tmp_path / "in.parquet", [1, 2, 2])
    options = (tmp_path / "in.parquet", *HASHES, "--index", tmp_path / "ix")
    with pytest.raises(UserError, match=r"--index .*ix: nothing on this store .* by --index-single-writer"):
        run(*options)
    assert not [one for one in (tmp_path / "ix").rglob("*") if one.is_file()]
    df = spark.read.parquet(str(tmp_path / "in.parquet"))
    with pytest.raises(UserError, match=r"^index .*ix: nothing on this store .* by index_single_writer"):
        deduplicate(df, DedupConfig(hash_col="h"), id_col="id", index=str(tmp_path / "ix"))
    assert run(*options, "--dry-run").summary["rows_kept"] == 2
    assert run(*options, "--index-single-writer").summary["rows_kept"] == 2
    assert len(indexed(tmp_path / "ix")) == 2


def test_an_index_of_other_fingerprints_is_refused(run, photos, tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"image": [photos["A"], photos["B"], photos["A"]], "text": ["x", "y", "z"]}), path)
    index = ("--index", tmp_path / "index")
    run(path, *index)
    for options, words in [
        (("--method", "dhash"), "phash of 64 bits.*dhash of 64 bits"),
        (("--hash-size", 16), "phash of 64 bits.*phash of 256 bits"),
        (("--decode", "exact"), "--decode fast.*--decode exact"),
        (("--text-col", "text"), "not given.*given"),
        (("--threshold", 4, "--verify", "dhash:8:9"), "--verify none.*dhash of 64 bits"),
        (("--hash-col", "text"), "ready hashes"),
    ]:
        with pytest.raises(UserError, match=words):
            run(path, *index, *options)
        with pytest.raises(UserError, match=words):
            run(path, "--against", tmp_path / "index", *options)
    again = run(path, *index, "--threshold", 6)
    assert again.ids("text") == [] and again.summary["in_index"] == 3
    state = json.loads(max((tmp_path / "index" / "manifests").glob("*.json")).read_text())
    assert state["spec"]["method"] == "phash of 64 bits"


def test_hashes_of_other_lengths_have_no_distance_to_the_index(run, tmp_path):
    options = (*HASHES, "--index", tmp_path / "index")
    run(write(tmp_path / "a.parquet", ["01", "02"]), *options)
    with pytest.raises(UserError, match="8 to 16 bits"):
        run(write(tmp_path / "b.parquet", ["0101"]), *options, "--threshold", 2)


def test_what_is_no_index_is_refused(run, tmp_path):
    path = write(tmp_path / "a.parquet", ["01"])
    (tmp_path / "photos").mkdir()
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "a.parquet", ["01"])
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="holds other files"):
        run(path, *HASHES, "--index", tmp_path / "photos")
    with pytest.raises(UserError, match="lies in the input"):
        run(tmp_path / "data", *HASHES, "--index", tmp_path / "data" / "index")
    with pytest.raises(UserError, match="needs --index"):
        run(path, *HASHES, "--run-id", "a")


def test_a_dry_run_adds_nothing(run, tmp_path):
    path = write(tmp_path / "a.parquet", ["01", "02"])
    run(path, *HASHES, "--index", tmp_path / "index", "--dry-run")
    assert Index(str(tmp_path / "index")).read().runs == ()


def test_rows_without_a_key_are_not_added(run, photos, tmp_path):
    pictures = [photos["A"], None, b"no picture", photos["B"]]
    pq.write_table(pa.table({"id": ["a", "b", "c", "d"], "image": pictures}), tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", "--id-col", "id", "--index", tmp_path / "index")
    assert result.ids() == ["a", "b", "c", "d"]
    assert set(indexed(tmp_path / "index")) == {"a", "d"}


def test_against_a_data_set_and_an_index(run, tmp_path):
    """--against comes before --index, and nothing is added to it."""
    held_out = write(tmp_path / "eval.parquet", ["00ff", "0f00", "00ff"], ["e1", "e2", "e3"])
    run(write(tmp_path / "old.parquet", ["0001", "0f00"], ["o1", "o2"]), *HASHES, "--index", tmp_path / "old-index")
    run(write(tmp_path / "mine.parquet", ["f000", "00ff"], ["m1", "m2"]), *HASHES, "--index", tmp_path / "index")
    new = write(tmp_path / "new.parquet", ["00fe", "f000", "0001", "3333", "0f0f", "3333", "00ff"], range(7))
    against = ("--against", held_out, tmp_path / "old-index", "--index", tmp_path / "index", "--threshold", 1)
    result = run(new, *HASHES, *against)
    assert result.ids() == [3, 4]
    rows = {row["id"]: (row["kept_id"], row["reason"], row["distance"]) for row in result.table("duplicates")}
    assert rows == {
        0: ("e1", "in_reference", 1.0),
        1: ("m1", "in_index", 0.0),
        2: ("o1", "in_reference", 0.0),
        5: ("3", "same_hash", 0.0),
        6: ("e1", "in_reference", 0.0),
    }
    summary = result.summary
    assert (summary["in_index"], summary["in_reference"], summary["rows_dropped"]) == (1, 3, 5)
    assert [one["rows"] for one in summary["against"]] == [3, 2]
    assert set(indexed(tmp_path / "index")) == {"m1", "m2", "3", "4"}
    assert set(indexed(tmp_path / "old-index")) == {"o1", "o2"}


def test_training_data_without_its_evaluation_set(run, photos, tmp_path):
    """Pictures against a folder of picture files, without an index; the reference has columns of its own."""
    folder = tmp_path / "eval"
    folder.mkdir()
    for letter in "AB":
        (folder / f"{letter}.jpg").write_bytes(photos[letter])
    (folder / "bad.jpg").write_bytes(b"no picture")
    pq.write_table(pa.table({"image": [photos[letter] for letter in "CABDA"]}), tmp_path / "train.parquet")
    for options in ((), ("--threshold", 6)):
        result = run(tmp_path / "train.parquet", "--against", folder, *options)
        assert [row["image"] for row in result.kept] == [photos["C"], photos["D"]]
        assert result.dropped == {
            "train.parquet#1": "A.jpg#0",
            "train.parquet#2": "B.jpg#0",
            "train.parquet#4": "A.jpg#0",
        }
        assert {row["reason"] for row in result.table("duplicates")} == {"in_reference"}
        assert result.summary["against"] == [{"against": str(folder), "rows": 2, "rows_with_errors": 1}]
        assert result.summary["groups"] == 0


def test_a_merge_counts_by_input(run, tmp_path):
    first = write(tmp_path / "first.parquet", ["01", "02", "02"])
    second = write(tmp_path / "second.parquet", ["02", "03"])
    summary = run([first, second], "--hash-col", "h").summary
    assert summary["inputs"] == [
        {"input": str(first), "rows_in": 3, "rows_kept": 2, "rows_dropped": 1},
        {"input": str(second), "rows_in": 2, "rows_kept": 1, "rows_dropped": 1},
    ]


def test_several_pictures_a_row_and_many_runs(run, photos, tmp_path):
    """Lists, texts alone, --missing: what has no images is compared by equality in the index too."""
    lists = {"one": [["A", "B"], ["A"], []], "two": [["A", "B"], ["B", "A"], ["A"], []], "three": [["B", "A"], ["C"]]}
    kept = []
    for name, rows in lists.items():
        images = pa.array([[photos[letter] for letter in row] for row in rows], pa.list_(pa.binary()))
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"images": images, "text": ["t"] * len(rows)}), path)
        options = ("--text-col", "text", "--threshold", 4, "--index", tmp_path / "index", "--run-id", name)
        result = run(path, *options)
        kept.append(
            sorted(
                {int(one["id"].rpartition("#")[2]) for one in result.table("hashes")}
                - {int(one.rpartition("#")[2]) for one in result.dropped}
            )
        )
    assert kept == [[0, 1, 2], [1], [1]]


def test_an_index_without_deduplicating(run, spark, tmp_path):
    """What `jobs/fingerprint.py` does; its rows may repeat, and --against names the first of them."""
    from imgdedup_spark.config.command_line import read_options
    from imgdedup_spark.job import run_fingerprint

    folder = tmp_path / "eval-index"
    path = write(tmp_path / "eval.parquet", ["00ff", "0f00", "00ff"], ["e1", "e2", "e3"])
    options = ["--input", str(path), "--index", str(folder), "--run-id", "eval", *HASHES]
    for _ in range(2):
        done = run_fingerprint(spark, read_options(options, fingerprint=True))
        assert (done["rows_in"], done["rows_added"]) == (3, 3)
    assert set(indexed(folder)) == {"e1", "e2", "e3"}
    new = write(tmp_path / "new.parquet", ["00ff", "0f01", "3333"], ["n1", "n2", "n3"])
    for threshold, dropped in ((0, {"n1": "e1"}), (1, {"n1": "e1", "n2": "e2"})):
        assert run(new, *HASHES, "--against", folder, "--threshold", threshold).dropped == dropped
    with pytest.raises(UserError, match="--index is required"):
        read_options(["--input", str(path)], fingerprint=True)
