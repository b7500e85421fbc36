"""The one line that a failed job says, from what Spark and PySpark say."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from imgdedup_spark.causes import cause, kept_whole, lacking_package
from imgdedup_spark.cli import _main

WORKER = """
An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/x/worker.py", line 44, in __call__
    yield self.hash(batch)
          ^^^^^^^^^^^^^^^^
KeyError: 'first'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/x/faults.py", line 38, in hash_or_stop
    raise error
{last}
\tat org.apache.spark.api.python.BasePythonRunner.handle(PythonRunner.scala:1097)
Caused by: java.io.IOException: behind
"""
FOOTER = """An error occurred while calling o91.parquet.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 failed. (TID 0): \
org.apache.spark.SparkException: [FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] Encountered error while reading file \
file:/in/a.parquet. Could not read footer. SQLSTATE: KD001
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.cannotRead(QueryExecutionErrors.scala:1109)
Caused by: java.lang.RuntimeException: footer is too large
\tat org.apache.parquet.hadoop.ParquetFileReader.readFooter(ParquetFileReader.java:609)
\t... 9 more
"""


class SparkError(Exception):
    """As PySpark has them."""

    __module__ = "pyspark.errors"


CRASH = """Job aborted due to stage failure: Task 0 in stage 3.0 failed 1 times: org.apache.spark.SparkException: \
Python worker exited unexpectedly (crashed)
\tat org.apache.spark.api.python.BasePythonRunner
Caused by: java.io.EOFException
"""


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("imgdedup_spark.errors.JobError: /in/a.parquet cannot be read: gone", "/in/a.parquet cannot be read: gone"),
        ("imgdedup_spark.errors.UserError: --model x: not there SQLSTATE: 38000", "--model x: not there"),
        ("ValueError: one\ntwo\n SQLSTATE: 38000\n", "ValueError: one two"),
        ("MemoryError", "MemoryError"),
        ("ValueError: bad options\n  hint: none", "ValueError: bad options hint: none"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory", "torch.cuda.OutOfMemoryError: CUDA out of memory"),
    ],
)
def test_the_workers_last_line_is_what_is_told(last, expected):
    assert cause(SparkError(WORKER.format(last=last))) == expected


def test_of_the_jvms_what_spark_says_and_what_is_behind_it():
    said = cause(SparkError(FOOTER))
    assert "reading file file:/in/a.parquet. Could not read footer: footer is too large" in said
    assert not {"\n", "\t", "SQLSTATE"} & set(said) and "An error occurred" not in said
    assert cause(SparkError("[PATH_NOT_FOUND] Path does not exist: file:/x. SQLSTATE: 42K03")).startswith("Path does n")


def test_a_worker_that_is_gone():
    assert cause(SparkError(CRASH)).startswith(
        "Python worker exited unexpectedly: was the worker killed for want of memory"
    )
    crash = CRASH.replace("(crashed)", "(crashed): Fatal\nFatal Python error: Segmentation fault")
    assert cause(SparkError(crash)).startswith("Fatal Python error: Segmentation fault: ")


def test_a_full_disk_says_where(tmp_path):
    error = OSError(28, "No space left on device", "/mnt/out/part-0")
    assert cause(error) == "the disk is full: /mnt/out/part-0"
    java = "x\nCaused by: java.io.FileNotFoundException: /mnt/tmp/blockmgr-1/0c/temp (No space left on device)\n"
    assert cause(SparkError(java)) == "the disk is full: /mnt/tmp/blockmgr-1/0c/temp"
    unnamed = cause(SparkError("java.io.IOException: No space left on device"), [str(tmp_path), "/no/such/folder"])
    assert unnamed.startswith(f"the disk is full: {tmp_path} has ")
    assert cause(SparkError("No space left on device")).startswith("the disk is full: one")


def test_an_error_without_a_word():
    assert cause(ZeroDivisionError()) == "ZeroDivisionError"
    assert cause(KeyError("x")) == "KeyError: 'x'"
    assert cause(SparkError()) == "SparkError"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("imgdedup_spark", "have no package imgdedup_spark: install it there, or send it"),
        ("imgdedup_spark.hash", "have no package imgdedup_spark: install it there, or send it"),
        ("pyarrow", "run a Python without the package pyarrow: let PYSPARK_PYTHON"),
        ("PIL.Image", "run a Python without the package PIL: let PYSPARK_PYTHON"),
    ],
)
def test_a_package_that_workers_lack(name, said):
    text = WORKER.format(last=f"ModuleNotFoundError: No module named '{name}'")
    assert cause(SparkError(text)).startswith("Spark's workers " + said)
    # As Spark Connect tells it, and as cloudpickle does.
    assert lacking_package(SparkError("(pyspark.errors.PythonException) " + text))


def test_what_the_driver_lacks_is_another_matter():
    assert lacking_package(ModuleNotFoundError("No module named 'pyarrow'")) is None


def test_a_heap_that_is_full():
    text = """An error occurred while calling o91.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 3.0 failed 1 times
\tat org.apache.spark.scheduler.DAGScheduler
Caused by: java.lang.OutOfMemoryError: Java heap space
"""
    assert cause(SparkError(text)) == (
        "the JVM is out of memory (Java heap space): raise spark.driver.memory, or spark.executor.memory on a cluster"
    )


def test_a_spark_that_does_not_start(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = """An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.
: java.lang.IllegalArgumentException: requirement failed: spark.network.timeoutInterval is too large
\tat scala.Predef$.require(Predef.scala:337)
"""

    def start(_):
        raise SparkError(text)

    assert _main(start, []) == 3
    said = capsys.readouterr().err.strip()
    told = "imgdedup: error: the job failed: requirement failed: spark.network.timeoutInterval is too large"
    assert said.startswith(f"{told} (the whole stack is in /") and "\n" not in said
    assert "scala.Predef" in Path(said.rpartition(" in ")[2].rstrip(")")).read_text("utf-8")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.10 than that in driver: 3.11, PySpark",
            "Spark's workers run Python 3.10, the driver 3.11: let PYSPARK_PYTHON",
        ),
        (
            "PySparkImportError: [UNSUPPORTED_PACKAGE_VERSION] PyArrow >= 15.0.0 must be installed; however, your "
            "version is 11.0.0.",
            "PySpark needs PyArrow >= 15.0.0 and finds 11.0.0: ",
        ),
        (
            "[PACKAGE_NOT_INSTALLED] PyArrow >= 15.0.0 must be installed; however, it was not found.",
            "PySpark needs PyArrow >= 15.0.0 and finds none: ",
        ),
        ("pyarrow.lib.ArrowNotImplementedError: Support for codec 'lz4_raw' not built", "cannot unpack lz4_raw"),
        (
            "S3Exception: The AWS Access Key Id you provided does not exist in our records. (Service: S3, Status Code: "
            "403, Error Code: InvalidAccessKeyId)",
            "refuses the credentials that Spark has for it",
        ),
    ],
)
def test_what_does_not_say_what_to_do_is_told_so(said, told):
    assert told in cause(SparkError(WORKER.format(last=said)))


def test_the_whole_stack_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        raise SparkError(CRASH)
    except SparkError as error:
        said = kept_whole(error)
    (file,) = tmp_path.iterdir()
    assert said == f" (the whole stack is in {file})"
    assert "test_the_whole_stack_is_kept" in file.read_text() and "BasePythonRunner" in file.read_text()
