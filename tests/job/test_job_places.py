"""What a run reads is never what it deletes, whatever names both are given; and what it stages is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.cli import fingerprint_main
from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.job import run as run_job
from imgdedup_spark.job import run_fingerprint

pytestmark = pytest.mark.spark

HASHES = ("--hash-col", "h", "--id-col", "id")


def write(path, hashes):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": list(range(len(hashes))), "h": hashes}), path)
    return path


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else str(path.readlink())
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def test_nothing_that_is_read_is_replaced(spark, tmp_path):
    """Each refusal comes before anything is touched (``tests/write/test_apart.py`` has more of them)."""
    for file in ("in/a.parquet", "v1/kept/part-0.parquet"):
        write(tmp_path / file, ["01", "02", "01"])
    (tmp_path / "v1" / "summary.json").write_text('{"rows_in": 3}')
    (tmp_path / "cur").symlink_to("v1/kept")
    before = contents(tmp_path)
    output = ["--output", str(tmp_path / "v1"), "--overwrite", *HASHES]
    for given in (["cur"], ["cu[r]"], ["in", "--against", "cur"], ["in", "--image-root", "v1/kept"]):
        options = [one if one.startswith("--") else f"{tmp_path}/{one}" for one in given]
        with pytest.raises(UserError, match=r"^--output .* lies in it; choose another folder$"):
            run_job(spark, read_options(["--input", *options, *output]))
        assert contents(tmp_path) == before, given
    metrics = ["--input", str(tmp_path / "in"), *HASHES, "--output", str(tmp_path / "v2")]
    with pytest.raises(UserError, match=r"^--metrics .*a.parquet: is there and holds no metrics of this job"):
        run_job(spark, read_options([*metrics, "--metrics", str(tmp_path / "in" / "a.parquet")]))
    assert contents(tmp_path) == before
    here = ["--input", str(tmp_path / "in"), "--index", str(tmp_path / "in" / "i")]
    with pytest.raises(UserError, match="it lies in the input"):
        run_fingerprint(spark, read_options([*here, *HASHES], fingerprint=True))
    assert contents(tmp_path) == before


def test_what_only_lies_near_is_read(run, tmp_path):
    """Names that begin alike, links that lead elsewhere, and a project's folder with everything in it."""
    write(tmp_path / "out2" / "a.parquet", ["01", "01"])
    (tmp_path / "elsewhere").symlink_to("out2")
    options = (*HASHES, "--image-root", tmp_path, "--index", tmp_path / "out-index", "--run-id", "a", "--overwrite")
    for inputs in (tmp_path / "elsewhere", tmp_path / "out*" / "a.parquet"):
        assert run(inputs, *options, output="out").ids() == [0]


CHILD = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder.config("spark.log.level", "ERROR").getOrCreate()
from imgdedup_spark.write import everything
real = everything.write_kept
def slowly(*arguments):
    print("writing", flush=True)
    sys.stdin.readline()
    real(*arguments)
everything.write_kept = slowly
from imgdedup_spark.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(
    os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="its processes have classic sessions of their own"
)
@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.long
def test_of_two_runs_at_once_one_wins_whole(run, tmp_path, overwrite):
    """The other ends with one line and exit status 3, and may be started again once the first is through."""
    first, second = (write(tmp_path / name / "a.parquet", rows) for name, rows in [("1", ["01"]), ("2", ["02", "03"])])
    if overwrite:
        run(second, *HASHES, output="out")
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, "--input", str(first), "--output", str(out), *HASHES]
    command += ["--overwrite"] if overwrite else []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        before = (out / "_staging" / "run.json").read_text()
        for how in ([], ["--overwrite"]):
            with pytest.raises(JobError, match=rf"another run is at work there \(process {process.pid} on"):
                run(second, *HASHES, *how, output="out")
        assert (out / "_staging" / "run.json").read_text() == before
        process.stdin.write("\n")
        process.stdin.flush()
        _, log = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert json.loads((out / "summary.json").read_text())["rows_kept"] == 1 and not (out / "_staging").exists()
    assert run(second, *HASHES, "--overwrite", output="out").ids() == [0, 1]


def test_staging_holds_what_is_the_users(spark, tmp_path):
    """Two results at a time in one folder that has other files, closed one by one; a call that fails leaves nothing."""
    staging = tmp_path / "work"
    (staging / "fingerprints").mkdir(parents=True)
    for name in ("mine.txt", "fingerprints/mine.parquet"):
        (staging / name).write_text("precious")
    before = contents(staging)
    config = DedupConfig(hash_col="h")
    frame = spark.createDataFrame([(1, "01"), (2, "01"), (3, "02")], "id long, h string")
    one = deduplicate(frame, config, id_col="id", staging=str(staging))
    two = deduplicate(frame.where("id > 1"), config, id_col="id", staging=str(staging))
    assert sorted(row.id for row in one.kept.collect()) == [1, 3]
    two.close()
    assert [row.id for row in one.duplicates.collect()] == [2]
    one.close()
    one.close()
    assert contents(staging) == before
    for read in (lambda: one.kept, lambda: one.duplicates, one.summary, one.pairs):
        with pytest.raises(UserError, match=r"was closed .* before close\(\)"):
            read()
    with pytest.raises(UserError, match="in 3 rows"):
        deduplicate(frame.selectExpr("1 as id", "h"), config, id_col="id", staging=str(staging))
    with pytest.raises(UserError, match="in 3 rows"):
        deduplicate(frame.selectExpr("1 as id", "h"), config, id_col="id", staging=str(tmp_path / "new" / "deep"))
    assert contents(staging) == before and not list(tmp_path.rglob("_imgdedup*"))


def test_what_python_reads_is_not_written_to(spark, tmp_path):
    import conftest

    rows = write(tmp_path / "in" / "a.parquet", ["01", "02"])
    (tmp_path / "link").symlink_to("in")
    frame, config = spark.read.parquet(str(tmp_path / "in")), DedupConfig(hash_col="h")
    before = contents(tmp_path)
    places = [{"staging": "index/x", "index": "index"}, {"staging": "old", "against": ["old"]}, {"index": "in"}]
    if conftest.MODE == "classic":  # Connect does not say which folders a DataFrame is read from
        places += [{"staging": "in"}, {"staging": "link/work"}]
    for given in places:
        there = {
            key: [str(tmp_path / "old")] if key == "against" else str(tmp_path / one) for key, one in given.items()
        }
        with pytest.raises(UserError, match=r"^(staging|index) .* lies in"):
            deduplicate(frame, config, id_col="id", **there)
        assert contents(tmp_path) == before
    # A single file, and what lies beside it.
    result = deduplicate(spark.read.parquet(str(rows)), config, id_col="id", staging=str(tmp_path / "in" / "work"))
    assert result.kept.count() == 2
    result.close()
    assert contents(tmp_path) == before


def test_an_index_is_no_folder_of_somebody_elses(run, tmp_path, capsys):
    """``data`` is a name that many folders have."""
    rows = write(tmp_path / "in.parquet", ["01"])
    mine = write(tmp_path / "project" / "data" / "2026" / "raw" / "a.parquet", ["01"])
    os.utime(mine, (1, 1))
    assert fingerprint_main(["--input", str(rows), "--index", str(tmp_path / "project"), *HASHES]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert contents(tmp_path / "project") == {"data/2026/raw/a.parquet": mine.read_bytes()}
