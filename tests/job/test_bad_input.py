"""A user's mistake is exit status 2 and one line; a bad picture is a row of errors/; nothing else stops a job."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.cli import fingerprint_main, main

pytestmark = pytest.mark.spark


@pytest.fixture
def table(photos, tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": [1, 2], "image": [photos["A"], photos["B"]], "n": [1.5, 2.5]}), path)
    return path


@pytest.fixture
def refused(spark, capsys):
    """Runs the command line, expects status 2 and one line, and returns that line."""

    def run_it(*arguments, command=main):
        assert command([str(one) for one in arguments]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        said = [line for line in lines if line.startswith("imgdedup: error: ")]
        assert len(said) == 1 and "Traceback" not in "".join(lines)
        return said[0]

    return run_it


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--method", "fhash"], "phash"),
        (["--threshold", "65"], "64 bits"),
        (["--threshold", "-1"], "threshold"),
        (["--threshold", "x"], "--threshold"),
        (["--method", "md5", "--threshold", "3"], "md5"),
        (["--method", "crop_resistant", "--threshold", "3"], "crop_resistant"),
        (["--hash-size", "0"], "size"),
        (["--image-col", "picture"], "`picture`"),
        (["--image-col", "n"], "found double"),
        (["--id-col", "key"], "`key`"),
        (["--text-col", "n"], "expected string"),
        (["--text-col", "caption"], "`caption`"),
        (["--hash-col", "n"], "hex"),
        (["--similarity", "0.8"], "--method clip"),
        (["--embedding-col", "n"], "--method clip"),
        (["--method", "clip", "--threshold", "3"], "--threshold is for hashes"),
        (["--method", "clip", "--similarity", "1.5"], "--similarity"),
        (["--method", "clip", "--model", "/no/such/folder"], "--model"),
        (["--method", "clip", "--embedding-col", "n", "--device", "cpu"], "--device"),
        (["--method", "clip", "--embedding-col", "n"], "found double"),
        (["--method", "clip", "--embedding-col", "v"], "`v`"),
        (["--invariant", "flip", "--method", "md5"], "--invariant flip: md5 has no views"),
        (["--keep", "height up, first, n"], "--keep"),
        (["--keep", "first, n"], "--keep"),
        (["--keep", "beauty desc"], "`beauty`"),
        (["--keep", "`id, n` desc"], "`id, n`"),
        (["--verify", "phash"], "METHOD:SIZE:T"),
        (["--verify", "phash:16:31"], "--threshold"),
        (["--nonsense"], "--nonsense"),
        (["--on-error", "explode"], "explode"),
        (["--text-normalize", "lowercase"], "--text-col"),
        (["--output-format", "csv"], "csv"),
        (["--input-format", "nosuchsource"], "nosuchsource"),
        (["--config", "/no/such/file.yaml"], "/no/such/file.yaml"),
    ],
)
def test_wrong_options(refused, table, tmp_path, options, expected):
    assert expected in refused("--input", table, "--output", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_wrong_yaml(refused, table, tmp_path):
    config = tmp_path / "options.yaml"
    for text, expected in [
        ("treshold: 3", "did you mean `threshold`"),
        ("threshold: lots", "type int"),
        ("id_col: 2024-01-01", "no column `2024-01-01`"),
        ("id_col: no", "no column `no`"),
        ("threshold: 3\nthreshold: 4", "`threshold` is there twice"),
        ("- a\n- b", "option: value"),
        ("a: [", "not valid YAML"),
        ("method: [phash, dhash]", "one value"),
        ("stages: phash", "a list"),
        ("stages: [{treshold: 3}]", "did you mean `threshold`"),
        ("stages: [{threshold: lots}]", "entry 1"),
        ("stages: [{threshold: 65}]", "stage 1: --threshold"),
        ("{stages: [{method: phash}], threshold: 3}", "--threshold stands beside"),
        ("{stages: [{method: phash}], index: seen}", "--index does not go with `stages`"),
    ]:
        config.write_text(text)
        assert expected in refused("--config", config, "--input", table, "--output", tmp_path / "out")


def test_an_index_alone_has_no_output(refused, table, tmp_path):
    for options in (["--output", tmp_path / "out"], ["--show-num", 3], ["--emit-hashes"], ["--against", table]):
        said = refused("--input", table, "--index", tmp_path / "index", *options, command=fingerprint_main)
        assert f"{options[0]} is an option of imgdedup" in said
    assert not (tmp_path / "index").exists()


def test_a_dry_run_of_an_index_writes_nothing(spark, table, tmp_path):
    arguments = ["--input", str(table), "--index", str(tmp_path / "index")]
    assert fingerprint_main([*arguments, "--dry-run"]) == 0
    assert not (tmp_path / "index").exists()
    assert fingerprint_main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*")}
    assert fingerprint_main([*arguments, "--dry-run"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*")} == before


def test_missing_inputs_and_outputs(refused, table, tmp_path):
    assert "--input is required" in refused("--output", tmp_path / "out")
    assert "--output is required" in refused("--input", table)
    assert "matches no file" in refused("--input", tmp_path / "nothing", "--output", tmp_path / "out")
    assert "matches no file" in refused("--input", tmp_path / "*.jsonl", "--output", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "matches no file" in refused("--input", tmp_path / "empty", "--output", tmp_path / "out")
    (tmp_path / "empty" / "x.txt").write_text("x")
    assert "--input-format" in refused("--input", tmp_path / "empty", "--output", tmp_path / "out")


def test_existing_output_is_refused_and_nothing_else_is_deleted(refused, run, table, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    assert "not empty" in refused("--input", table, "--output", out)
    assert run(table, "--overwrite", output="out").ids() == [1, 2]
    assert "not empty" in refused("--input", table, "--output", out)
    result = run(table, "--overwrite", "--dry-run", output="out")
    assert not (result.folder / "kept").exists()
    assert (out / "mine.txt").read_text() == "precious"


def test_output_must_not_swallow_the_input(refused, table, tmp_path):
    assert "lies in it" in refused("--input", table, "--output", tmp_path, "--overwrite")
    assert "lies in the input" in refused(
        "--input", tmp_path, "--output", tmp_path / "out", "--input-format", "parquet"
    )
    assert table.exists()


def test_on_error_fail_is_status_3(spark, capsys, tmp_path, photos):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"image": [photos["A"], b"broken"]}), path)
    assert main(["--input", str(path), "--output", str(tmp_path / "out"), "--on-error", "fail"]) == 3
    assert "1 rows have unreadable images" in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_job_that_fails_is_status_3_and_never_looks_finished(spark, capsys, tmp_path):
    (tmp_path / "in.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    status = main(["--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out"), "--image-col", "image"])
    assert status in (2, 3)
    assert "imgdedup: error: " in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_bad_pictures_are_rows_of_errors(run, photos, tmp_path):
    import io

    from PIL import Image

    root = tmp_path / "root"
    root.mkdir()
    (root / "ok.jpg").write_bytes(photos["A"])
    (tmp_path / "outside.jpg").write_bytes(photos["B"])
    (root / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (root / "folder").mkdir()
    (root / "empty.jpg").write_bytes(b"")
    (root / "cut.jpg").write_bytes(photos["C"][:500])
    (root / "noise.jpg").write_bytes(b"\x00\x01" * 500)
    big = io.BytesIO()
    Image.new("1", (400, 300)).save(big, "PNG")
    (root / "big.png").write_bytes(big.getvalue())
    expected = {
        "ok.jpg": None,
        "../outside.jpg": "forbidden_path",
        "folder/../../outside.jpg": "forbidden_path",
        "link.jpg": "forbidden_path",
        str(tmp_path / "outside.jpg"): "forbidden_path",
        str(root / "ok.jpg"): None,
        "nowhere.jpg": "not_found",
        "folder": "not_a_file",
        "empty.jpg": "empty",
        "": "empty",
        "cut.jpg": "truncated",
        "noise.jpg": "unknown_format",
        "http://localhost/x.jpg": "unsupported_url",
        "https://localhost/x.jpg": "unsupported_url",
        "data:image/png;base64,@@@": "bad_base64",
        "big.png": "too_large",
    }
    pq.write_table(pa.table({"image": list(expected)}), tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", "--image-root", root, "--max-pixels", 100_000)
    errors = {int(row["id"].split("#")[1]): row["error"] for row in result.table("errors")}
    assert errors == {index: code for index, code in enumerate(expected.values()) if code}
    assert len(result.kept) == len(expected) - 1
    # Without --image-root relative paths still may not climb out; absolute ones may lie anywhere.
    (tmp_path / "in2").mkdir()
    pq.write_table(
        pa.table({"image": ["../outside.jpg", str(tmp_path / "outside.jpg")]}), tmp_path / "in2" / "x.parquet"
    )
    result = run(tmp_path / "in2")
    assert [(row["id"], row["error"]) for row in result.table("errors")] == [("x.parquet#0", "forbidden_path")]


def test_help_and_version_need_no_spark(capsys):
    for flag in ("--help", "--version"):
        with pytest.raises(SystemExit) as stop:
            main([flag])
        assert stop.value.code == 0
    assert "--threshold" in capsys.readouterr().out
    assert os.environ["PYSPARK_PYTHON"]
