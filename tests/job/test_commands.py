"""The job as users start it: ``imgdedup``, ``spark-submit``, a zip of the package, a wheel."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="starts its own session"),
]


@pytest.fixture
def table(photos, tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "image": [photos[letter] for letter in "ABB"]}), path)
    return path


def run(*command, **environment):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )


def kept(folder):
    return [row["id"] for row in pq.read_table(folder / "kept").to_pylist()]


@pytest.mark.long
def test_imgdedup_needs_no_setting_up(table, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK")}
    command = [str(BIN / "imgdedup"), "--input", str(table), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert kept(tmp_path / "out") == [1, 2]
    assert "3 rows in, 2 kept, 1 dropped" in done.stderr
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert again.returncode == 2
    assert again.stderr.count("imgdedup: error:") == 1 and "Traceback" not in again.stderr


def test_what_is_loaded_beside_the_session_shares_no_module_with_it():
    """Two threads that import a circle of modules from two ends break each other's imports, now and then. For pandas
    the session waits."""
    code = (
        "import sys; from imgdedup_spark import cli; cli._load_libraries(); "
        "print(*[n for n in sys.modules if n.split('.')[0] in ('pyspark', 'py4j', 'imgdedup_spark')])"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    names = ["imgdedup_spark", *(f"imgdedup_spark.{one}" for one in ("cli", "errors", "logs"))]
    assert sorted(done.stdout.split()) == names


def test_workers_that_hash_load_no_compiler():
    code = "import sys, imgdedup_spark.hash.worker; print('numba' in sys.modules, 'pandas' in sys.modules)"
    done = run(sys.executable, "-c", code)
    assert done.stdout.split() == ["False", "False"], done.stderr[-2000:]


@pytest.mark.long
def test_spark_submit_with_the_package_as_a_zip(table, tmp_path, monkeypatch):
    """The driver and the workers get the package from the zip alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = tmp_path / "imgdedup_spark.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted((ROOT / "imgdedup_spark").rglob("*.py")):
            packed.write(file, file.relative_to(ROOT))
    # A module of the same name as an editable install's finder would win over the zip; -S-like isolation is not
    # to be had through spark-submit, so the zip says where it was imported from.
    job = tmp_path / "dedup.py"
    job.write_text(
        "import imgdedup_spark\nprint('FROM', imgdedup_spark.__file__)\n" + (ROOT / "jobs" / "dedup.py").read_text()
    )
    submit = [BIN / "spark-submit", "--conf", "spark.ui.enabled=false", "--py-files", archive, job]
    done = run(*submit, "--input", table, "--output", tmp_path / "out", "--threshold", 4)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ".zip" in next(line for line in done.stdout.splitlines() if line.startswith("FROM"))
    assert kept(tmp_path / "out") == [1, 2]


def test_exit_status_reaches_spark_submit(table, tmp_path):
    done = run(
        BIN / "spark-submit",
        ROOT / "jobs" / "dedup.py",
        "--input",
        table,
        "--output",
        tmp_path / "out",
        "--method",
        "x",
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "imgdedup: error:" in line]


@pytest.fixture
def broken(table):
    """A data set of which one file has no footer that could be read."""
    content = table.read_bytes()
    other = table.with_name("in2.parquet")
    length = int.from_bytes(content[-8:-4], "little")
    other.write_bytes(content[: -8 - length] + b"\xff" * length + content[-8:])
    return [table, other]


@pytest.mark.parametrize("command", [[BIN / "imgdedup"], [BIN / "spark-submit", ROOT / "jobs" / "dedup.py"]])
def test_a_fault_is_one_line(broken, tmp_path, command):
    done = run(*command, "--input", *broken, "--output", tmp_path / "out", "--image-col", "image")
    assert done.returncode in (2, 3)
    assert not re.search(r"Traceback|^\s+at |Caused by|ERROR|Exception", done.stderr, re.MULTILINE), done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("imgdedup: error: ")]
    assert len(said) == 1 and "in2.parquet" in said[0]
    # What is not ours is what the JVM says before it runs.
    assert len(done.stderr.splitlines()) <= 8, done.stderr


def test_control_c_says_interrupted(table, tmp_path):
    command = [str(BIN / "imgdedup"), "--input", str(table), "--output", str(tmp_path / "out")]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    lines = []
    for line in started.stderr:
        lines.append(line)
        if "imgdedup: read:" in line:
            os.killpg(started.pid, signal.SIGINT)
    assert started.wait() == 3
    # News that had been on their way; nothing of Python's or Spark's.
    after = [
        line for line in lines if "WARNING: Using incubator" not in line and not re.match(r"[\d:]{8} imgdedup: ", line)
    ]
    assert after == ["imgdedup: error: interrupted\n"]
