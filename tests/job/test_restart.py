"""Runs that are killed and started again, and files that are hashed once."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import spark_settings

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.hash import small, stage, store
from imgdedup_spark.index.manifest import Index
from imgdedup_spark.write import everything
from imgdedup_spark.write.additions import Addition
from imgdedup_spark.write.output import Output

pytestmark = pytest.mark.spark

HASHES = ("--hash-col", "h", "--id-col", "id")


class Killed(BaseException):
    """Nothing in the job may catch it, as nothing catches kill -9."""


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        ids, hashes = zip(*rows, strict=True)
        pq.write_table(pa.table({"id": list(ids), "h": list(hashes)}), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def three_files(tmp_path):
    return write(
        tmp_path / "in",
        {"a": [(1, "01"), (2, "ff")], "b": [(3, "ff"), (4, "0f"), (5, "f1")], "c": [(6, "01"), (7, "cc")]},
    )


@pytest.fixture
def a_group_a_file(monkeypatch):
    monkeypatch.setattr(stage, "_split", lambda spark, files: [[file] for file in files])


def killing(monkeypatch, owner, name, when, count=1):
    """The call number ``count`` of a function is the last thing that happens, or does not happen any more."""
    real, calls = getattr(owner, name), []

    def call(*arguments, **how):
        calls.append(name)
        number = len(calls)  # by the time that this call ends, others may have begun beside it
        if when == "before" and number == count:
            raise Killed
        result = real(*arguments, **how)
        if when == "after" and number == count:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, call)


#: In the order in which a run comes by: each attempt gets a little further than the one before.
POINTS = [
    (Output, "remember", "before", 1),
    (store.PrintStore, "add", "after", 1),
    (store.PrintStore, "add", "after", 2),
    (Output, "write_table", "after", 1),
    (everything, "write_kept", "before", 1),
    (everything, "write_kept", "after", 1),
    (Addition, "write", "after", 1),
    (Index, "commit", "before", 1),
    (Index, "commit", "after", 1),
    (Output, "finish", "before", 1),
]


def indexed(folder):
    state = Index(str(folder)).read()
    return sorted(row["id"] for run in state.runs for row in pq.read_table(folder / run.folder).to_pylist())


def test_killed_at_every_step_and_started_again(run, three_files, tmp_path, monkeypatch, a_group_a_file):
    options = (*HASHES, "--threshold", 1, "--index", tmp_path / "index")
    undisturbed = run(three_files, *HASHES, "--threshold", 1)
    added = []
    real_add = store.PrintStore.add
    monkeypatch.setattr(store.PrintStore, "add", lambda self, *a: (added.append(a), real_add(self, *a))[1])
    for point in POINTS:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killing(patch, *point)
            run(three_files, *options, output="out")
        assert not (tmp_path / "out" / "summary.json").exists()
        Index(str(tmp_path / "index")).read()
    result = run(three_files, *options, output="out")
    assert result.kept == undisturbed.kept
    assert result.table("duplicates") == undisturbed.table("duplicates")
    # Each file was hashed once: killed after two groups, the next attempt hashed the third.
    assert len(added) == 3
    assert indexed(tmp_path / "index") == sorted(str(one) for one in undisturbed.ids())
    # One run, one folder: nothing of the killed attempts is left.
    assert len(list((tmp_path / "index" / "data").glob("*/*"))) == 1
    assert not (tmp_path / "out" / "_staging").exists()


def test_a_finished_output_stays_until_the_new_one_is_whole(run, three_files, tmp_path, monkeypatch):
    import imgdedup_spark.files.storage as storage

    first = run(three_files, *HASHES, output="out")
    kept_before = first.kept
    options = (*HASHES, "--threshold", 4, "--overwrite")
    undisturbed = run(three_files, *HASHES, "--threshold", 4)
    assert undisturbed.ids() != first.ids()
    # An attempt that takes the place of a killed one needs no --overwrite, and goes on all the same.
    points = ((everything, "write_kept", "after", 1), options), ((Output, "finish", "before", 1), options[:-1])
    for point, how in points:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killing(patch, *point)
            run(three_files, *how, output="out")
        assert first.kept == kept_before and first.summary["config"]["threshold"] == 0
    for owner, name, when in [
        (storage, "move_files", "before"),
        (storage, "move_files", "after"),
        (Output, "_write_summary", "after"),
    ]:
        # The old parts are gone; the new ones are there; the summary is written.
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killing(patch, owner, name, when)
            run(three_files, *options, output="out")
    result = run(three_files, *options, output="out")
    assert result.kept == undisturbed.kept and result.summary["config"]["threshold"] == 4
    assert not (tmp_path / "out" / "_staging").exists()


@pytest.mark.parametrize("in_driver", [True, False])
def test_prints_of_a_killed_run_that_are_not_all_there(run, three_files, tmp_path, monkeypatch, in_driver):
    """As where a file system shows files late that another machine has written."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, everything, "write_kept", "before")
        run(three_files, *HASHES, output="out")
    missing = next((tmp_path / "out" / "_staging" / store.PRINTS).glob("*/*.parquet"))
    there = missing.rename(tmp_path / "elsewhere")
    if not in_driver:
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    with pytest.raises(JobError, match="7 prints were written there and"):
        run(three_files, *HASHES, output="out")
    there.rename(missing)
    assert run(three_files, *HASHES, output="out").ids() == [1, 2, 4, 5, 7]


def test_other_options_do_not_take_up_a_killed_run(run, three_files, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, everything, "write_kept", "before")
        run(three_files, *HASHES, output="out")
    with pytest.raises(UserError, match="not empty"):
        run(three_files, *HASHES, "--threshold", 1, output="out")
    # With --overwrite they do as they like, and still hash nothing again.
    result = run(three_files, *HASHES, "--threshold", 1, "--overwrite", output="out")
    assert result.summary["stages"]["hash"]["files_reused"] == 3


def test_wrong_options_leave_no_trace(run, three_files, tmp_path):
    with pytest.raises(UserError, match="no column `nowhere`"):
        run(three_files, "--hash-col", "nowhere", output="out")
    run(three_files, *HASHES, output="out")


def test_a_changed_file_is_hashed_again(run, three_files, tmp_path, monkeypatch, a_group_a_file):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killing(patch, everything, "write_kept", "before")
        run(three_files, *HASHES, output="out")
    write(three_files, {"b": [(3, "ee"), (4, "0f"), (5, "f1")]})
    result = run(three_files, *HASHES, output="out")
    assert result.ids() == [1, 2, 3, 4, 5, 7]
    assert result.summary["stages"]["hash"]["files_reused"] == 2


def test_a_later_run_hashes_new_files_alone(run, three_files, tmp_path):
    """The index remembers whole files, too; as inputs of other numbers, from other groups."""
    options = (*HASHES, "--index", tmp_path / "index")
    run(three_files, *options, "--run-id", "one")
    more = write(tmp_path / "more", {"d": [(8, "dd"), (9, "01")]})
    result = run([more, three_files], *options, "--run-id", "one")
    assert result.summary["stages"]["hash"]["files_reused"] == 3
    assert result.ids() == [8, 9, 2, 4, 5, 7]
    assert [one["rows_in"] for one in result.summary["inputs"]] == [2, 7]
    touched = three_files / "a.parquet"
    os.utime(touched, (1, 1))
    again = run([more, three_files], *options, "--run-id", "one")
    assert again.summary["stages"]["hash"]["files_reused"] == 3
    assert again.kept == result.kept
    # Other options of the hash find nothing.
    other = run(three_files, "--hash-col", "h", "--index", tmp_path / "index", "--run-id", "two")
    assert "files_reused" not in other.summary["stages"]["hash"]


def test_what_could_not_be_had_is_tried_again(run, photos, tmp_path):
    """Only the files with such rows are hashed again; what is wrong with the bytes themselves stays so."""
    root = tmp_path / "pictures"
    root.mkdir()
    folder = tmp_path / "in"
    folder.mkdir()
    names = {"a": ["here.jpg", "gone.jpg"], "b": ["here.jpg", "broken.jpg"], "c": ["folder.jpg", "there.jpg"]}
    for file, paths in names.items():
        pq.write_table(pa.table({"image": paths}), folder / f"{file}.parquet")
    for name, content in {"here.jpg": photos["A"], "broken.jpg": b"none", "there.jpg": photos["B"]}.items():
        (root / name).write_bytes(content)
    (root / "folder.jpg").mkdir()
    options = ("--image-root", root, "--index", tmp_path / "index", "--run-id", "one")
    first = run(folder, *options)
    bad = {"a.parquet#1": "not_found", "b.parquet#1": "unknown_format", "c.parquet#0": "not_a_file"}
    assert {row["id"]: row["error"] for row in first.table("errors")} == bad
    (root / "gone.jpg").write_bytes(photos["C"])
    (root / "folder.jpg").rmdir()
    (root / "folder.jpg").write_bytes(photos["D"])
    second = run(folder, *options)
    assert second.summary["stages"]["hash"]["files_reused"] == 1
    assert [row["id"] for row in second.table("errors")] == ["b.parquet#1"]
    assert second.dropped == {"b.parquet#0": "a.parquet#0"}
    third = run(folder, *options)
    assert third.summary["stages"]["hash"]["files_reused"] == 3
    assert third.kept == second.kept and third.dropped == second.dropped


def test_a_fault_of_all_pictures_ends_the_job_and_is_not_remembered(run, photos, tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    (root / "0.jpg").write_bytes(photos["A"])
    names = [f"{number}.jpg" for number in range(20)]
    pq.write_table(pa.table({"image": names}), tmp_path / "in.parquet")
    options = ("--image-root", root, "--index", tmp_path / "index", "--run-id", "one")
    with pytest.raises(
        JobError, match=r"19 of 20 images fail alike, one of them: not_found: 1.jpg: no such file; --on-e"
    ):
        run(tmp_path / "in.parquet", *options)
    # One who says that this is right is believed.
    assert len(run(tmp_path / "in.parquet", *options, "--on-error", "keep").kept) == 20
    # Not alike: ten are empty, and the others are missing.
    for name in names[1:11]:
        (root / name).write_bytes(b"")
    found = run(tmp_path / "in.parquet", *options)
    assert found.summary["rows_with_errors"] == 19 and found.summary["config"]["on_error"] == "keep"
    for name in names:
        (root / name).write_bytes(photos["A"])
    assert run(tmp_path / "in.parquet", *options).ids("image") == ["0.jpg"]


def test_old_leavings_are_cleared(run, three_files, tmp_path, a_group_a_file):
    """What killed runs have left in an index goes after a week; what a run at work may have written stays."""
    index = tmp_path / "index"
    options = (*HASHES, "--index", index, "--run-id")
    run(three_files, *options, "one")
    held = indexed(index)
    old, young = "0" * 32, "1" * 32
    users = index / "packed" / "my files" / "x"
    users.parent.mkdir(parents=True)
    users.write_text("mine")
    os.utime(users, (1, 1))
    for folder in ("data/run=x", "packed", "_staging", "fingerprints"):
        for age in (old, young):
            path = index / folder / age / "part.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        os.utime(index / folder / old / "part.parquet", (1, 1))
    groups = {path: json.loads(path.read_text()) for path in (index / "fingerprints").glob("*.json")}
    for path, group in groups.items():
        path.write_text(json.dumps({**group, "made": 1.0}))
    write(three_files, {"b": [(3, "ee")]})
    result = run(three_files, *options, "two")
    assert result.summary["stages"]["hash"]["files_reused"] == 2
    assert len(list(index.rglob(young))) == 4 and not list(index.rglob(old))
    assert users.read_text() == "mine"
    # The group of the old b.parquet is gone, and that of the new one is there.
    gone = [path for path in groups if not path.exists()]
    assert [[file[2].rpartition("/")[2] for file in groups[path]["files"]] for path in gone] == [["b.parquet"]]
    assert not gone[0].with_suffix("").exists()
    assert len(list((index / "fingerprints").glob("*.json"))) == 3
    assert set(held) <= set(indexed(index))


@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.long
def test_groups_of_files_are_as_one_reading(run, spark, tmp_path, kind, a_group_a_file):
    """Also where Spark writes kept/, which reads the files again in one go, cut in other pieces."""
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"id": number, "h": f"{number * 7 % 50:02x}", "piece": "x", "name": number} for number in range(200)]
    for file in range(4):
        part = rows[file * 50 : file * 50 + 50]
        if kind == "json":
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
        else:
            pq.write_table(pa.Table.from_pylist(part), folder / f"{file}.parquet", row_group_size=7)
    with spark_settings(spark, {"spark.sql.files.maxPartitionBytes": "700b"}):
        native = run(folder, *HASHES)
        other = run(folder, *HASHES, "--output-format", "parquet" if kind == "json" else "jsonl")
    assert native.ids() == other.ids() == list(range(50))
    assert native.dropped == other.dropped and len(native.dropped) == 150


@pytest.mark.parametrize("beside", [True, False])
def test_what_a_killed_run_had_finished_is_taken_over_with_the_same_data_alone(
    run, three_files, tmp_path, monkeypatch, beside
):
    """Killed when only the end was missing, and started again: as it was, and with other rows in the input."""
    if beside:
        run(three_files, *HASHES, "--threshold", 1, output="out")
    options = (*HASHES, "--index", tmp_path / "index", "--run-id", "day", *(["--overwrite"] if beside else []))
    points = [(Output, "_write_summary", "before"), (Output, "_clear_staging", "before", 2)]
    for number, rows in enumerate([[(1, "01"), (2, "ff")], [(1, "01"), (2, "dd")]]):
        write(three_files, {"a": rows})
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killing(patch, *points[number - 1 if beside else 1])
            run(three_files, *options, output="out")
    # The input is as the last attempt has seen it: nothing is done again.
    with monkeypatch.context() as patch:
        patch.setattr(everything, "write_kept", None)
        result = run(three_files, *options[: 8 if beside else None], output="out")
    assert result.ids() == [1, 2, 3, 4, 5, 7] and result.summary["rows_in"] == 7
    assert indexed(tmp_path / "index") == list("123457")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "duplicates", "errors", "hashes", "kept", "summary.json",
    ]  # fmt: skip
