"""The daemon that workers of a local session are forked from."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgdedup_spark.cli import _of_workers
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.kernels.hashes import METHODS, HashSpec
from imgdedup_spark.spark import early_daemon

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os
import signal
import sys
from imgdedup_spark.spark.session import start_session

NAMES = ("imgdedup_spark.hash.worker", "no.such.module", "this", "notes_its_process")
LOOKED_FOR = (*NAMES, "pandas")

def daemon(batches):
    import os
    import pyarrow
    for batch in batches:
        yield pyarrow.RecordBatch.from_pydict({"pid": [os.getppid()]})

def loaded(batches):
    import pyarrow
    for batch in batches:
        pyarrow.array([1])
        yield pyarrow.RecordBatch.from_pydict({"name": [name for name in LOOKED_FOR if name in sys.modules]})

def waits():
    from pyspark import SparkContext

    print(SparkContext._gateway is not None, SparkContext._active_spark_context, "pandas" in sys.modules)

spark, ours = start_session(preload=NAMES, loaded=waits)
print(spark.conf.get("spark.python.sql.dataFrameDebugging.enabled"))
print(sorted(row.name for row in spark.range(1).mapInArrow(loaded, "name string").collect()))
[first] = spark.range(1).mapInArrow(daemon, "pid bigint").collect()
print(first.pid == int(open("pid").read()))
os.kill(first.pid, signal.SIGKILL)
print(sorted(row.name for row in spark.range(1).mapInArrow(loaded, "name string").collect()))
[second] = spark.range(1).mapInArrow(daemon, "pid bigint").collect()
print(first.pid != second.pid)
"""
#: A module that says in which process it was loaded first.
NOTES_ITS_PROCESS = """
import os
with open("pid", "x") as file:
    file.write(str(os.getpid()))
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_is_loaded_is_there(method):
    names = _of_workers(JobConfig(dedup=DedupConfig(method=method, verify=("phash:16:80",))))
    families = {HashSpec(method).about.family, "dct"}
    assert {f"imgdedup_spark.kernels.hashes.{name}" for name in families} <= set(names)
    for name in names:
        module, _, function = name.partition(":")
        loaded = importlib.import_module(module)
        assert not function or callable(getattr(loaded, function))


def run(program, folder, **variables):
    (folder / "notes_its_process.py").write_text(NOTES_ITS_PROCESS)
    (folder / "program.py").write_text(program)
    return subprocess.run(
        [sys.executable, "program.py"],
        env=os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.spark
def test_workers_find_modules_loaded(tmp_path):
    """Also where one cannot be loaded, or says something on the way, and where the early daemon is gone."""
    settings = " ".join(f"--conf {one}=false" for one in ("spark.ui.enabled", "spark.python.worker.reuse"))
    variables = {"PYSPARK_SUBMIT_ARGS": f"--master local[1] {settings} pyspark-shell"}
    done = run(PROGRAM, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-6:] == [
        "True None False",
        "false",
        "['imgdedup_spark.hash.worker', 'notes_its_process', 'this']",
        "True",
        "['imgdedup_spark.hash.worker', 'this']",
        "True",
    ]


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()"])
def test_an_early_daemon_ends_with_whoever_started_it(tmp_path, end):
    program = f"""
import os, signal, sys, time
from imgdedup_spark.spark import early_daemon, worker_daemon
print(early_daemon.start_early(worker_daemon.MODULE, {{worker_daemon.PRELOAD: "notes_its_process"}}), flush=True)
while not os.path.exists("pid"):
    time.sleep(0.05)
{end}
"""
    place = run(program, tmp_path).stdout.strip()
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    else:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("it still waits")
    assert not early_daemon.hand_over(place)
    assert not early_daemon.hand_over(str(tmp_path / "no such place"))
