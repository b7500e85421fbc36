"""The daemon that workers of a local session are forked from."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

from imgdedup_spark.cli import _of_workers
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.kernels.hashes import METHODS, HashSpec

PROGRAM = """
import sys
from imgdedup_spark.spark.session import start_session

NAMES = ("imgdedup_spark.hash.worker", "no.such.module", "this")
LOOKED_FOR = (*NAMES, "pandas")

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
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_is_loaded_is_there(method):
    names = _of_workers(JobConfig(dedup=DedupConfig(method=method, verify=("phash:16:80",))))
    families = {HashSpec(method).about.family, "dct"}
    assert {f"imgdedup_spark.kernels.hashes.{name}" for name in families} <= set(names)
    for name in names:
        importlib.import_module(name)


@pytest.mark.spark
def test_workers_find_modules_loaded(tmp_path):
    """Also where one cannot be loaded, or says something on the way."""
    variables = {"PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell"}
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program)], env=os.environ | variables, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["True None False", "false", "['imgdedup_spark.hash.worker', 'this']"]
