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
from imgdedup_spark.errors import UserError
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


def test_nothing_that_is_read_is_replaced(run, spark, tmp_path):
    """Each refusal comes before anything is touched, whatever names the places have."""
    rows = write(tmp_path / "in" / "rows.parquet", ["01", "02", "01"])
    run(rows, *HASHES, output="v1")
    for link, target in [("cur", "v1/kept"), ("alias", "v1"), ("models", "v1")]:
        (tmp_path / link).symlink_to(target)
    write(tmp_path / "mixed" / "a.parquet", ["03"])
    for part in (tmp_path / "v1" / "kept").glob("part-*"):
        (tmp_path / "mixed" / "b.parquet").symlink_to(part)
    write(tmp_path / "seen2" / "x" / "a.parquet", ["03"])
    before = contents(tmp_path)
    output, index = ("--output v1: the input", " lies in it"), ("--index", "the input")
    for inputs, options, said in [
        (["cur"], ["--output", "v1"], output),
        (["alias/kept"], ["--output", "v1"], output),
        (["v1/kept"], ["--output", "alias"], ("--output alias", " lies in it")),
        (["./v1//kept/../kept"], ["--output", "v1"], output),
        (["c[tu]r"], ["--output", "v1"], output),
        (["mixed"], ["--output", "v1"], ("--output v1", "by a link")),
        (["mixed/*.parquet"], ["--output", "v1"], output),
        (["in", "cur"], ["--output", "v1"], output),
        (["in"], ["--output", "in/out"], ("--output in/out: it lies in the input", "in")),
        (["alias/kept"], ["--output", "v1/kept/out"], ("--output", "it lies in the input")),
        (["in/rows.parquet"], ["--output", "."], ("--output .: the input", " lies in it")),
        (["in"], ["--output", "v1", "--against", "cur"], ("--output v1: --against cur", " lies in it")),
        (["in"], ["--output", "v1/new", "--against", "alias"], ("--output v1/new: it lies in --against alias", "v1")),
        (["in"], ["--output", "v1", "--image-root", "cur"], ("--output v1: --image-root cur", "v1/kept")),
        (["in"], ["--output", "alias", "--image-root", "v1/kept"], ("--output alias", "--image-root v1/kept")),
        (["in"], ["--output", "v1", "--index", "alias/index"], ("--output v1: --index alias/index", "v1/index")),
        (["in"], ["--output", "seen2/x", "--index", "seen2"], ("--output seen2/x: it lies in --index seen2", "")),
        (["in"], ["--output", "new", "--index", "in/index"], ("--index in/index: it lies in the input", "in")),
        (["seen2/x"], ["--output", "new", "--index", "seen2"], index),
        (["in"], ["--output", "new", "--index", "seen2", "--against", "seen2/x"], ("--index seen2: --against", "")),
    ]:
        # The JVM has a working folder of its own.
        absolute = [one if one.startswith("--") else f"{tmp_path}/{one}" for one in options]
        with pytest.raises(UserError) as error:
            _run(spark, [f"{tmp_path}/{one}" for one in inputs], absolute)
        line = str(error.value).replace(f"{tmp_path}/", "")
        assert line.startswith(said[0]) and said[1] in line and line.endswith("; choose another folder"), line
        assert "\n" not in line
        assert contents(tmp_path) == before, (inputs, options)
    here = ["--input", str(tmp_path / "in"), "--index", str(tmp_path / "in" / "i")]
    with pytest.raises(UserError, match="it lies in the input"):
        run_fingerprint(spark, read_options([*here, *HASHES], fingerprint=True))
    assert contents(tmp_path) == before


def _run(spark, inputs, options):
    from imgdedup_spark.job import run

    return run(spark, read_options(["--input", *inputs, "--overwrite", *HASHES, *options]))


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


@pytest.mark.parametrize("overwrite", [True, False])
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
        before = contents(out)
        for how in ([], ["--overwrite"]):
            from imgdedup_spark.errors import JobError

            with pytest.raises(JobError, match=rf"another run is at work there \(process {process.pid} on"):
                run(second, *HASHES, *how, output="out")
        assert {name: text for name, text in contents(out).items() if "lock-" not in name} == {
            name: text for name, text in before.items() if "lock-" not in name
        }
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
