"""What ``deduplicate`` says of faults that are not its own, and what Spark Connect has not; without Spark."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.errors import PySparkException

import imgdedup_spark
from imgdedup_spark import UserError
from imgdedup_spark.causes import in_one_line
from imgdedup_spark.errors import JobError
from imgdedup_spark.files import storage
from imgdedup_spark.spark import hadoop

PACKAGE = Path(imgdedup_spark.__file__).parent


def test_a_worker_without_the_package():
    with pytest.raises(JobError, match=r"spark\.addArtifacts\('imgdedup_spark\.zip', pyfile=True\)"), in_one_line():
        raise PySparkException(
            "Traceback (most recent call last):\nModuleNotFoundError: No module named 'imgdedup_spark'"
        )
    with pytest.raises(PySparkException, match="something else"), in_one_line():
        raise PySparkException("something else")


def test_a_store_without_credentials():
    with pytest.raises(UserError, match="a store cannot be opened: Unknown error: no token"), in_one_line():
        raise pa.ArrowException("Unknown error: no token\nfrom anywhere")
    with pytest.raises(pa.ArrowInvalid), in_one_line():
        raise pa.ArrowInvalid("a fault of the program's")


def test_a_scheme_that_nothing_opens_with_pyspark_client_alone(monkeypatch):
    """There is no py4j and no SparkContext."""
    import pyspark

    monkeypatch.setitem(sys.modules, "py4j", None)
    monkeypatch.delattr(pyspark, "SparkContext")
    hadoop.serve_storage()
    assert hadoop.default_file_system() == ""
    with pytest.raises(storage.UnsupportedScheme, match="somevendor://"):
        storage.exists("somevendor://here/x")


def test_only_the_room_of_spark_touches_what_connect_has_not():
    """JVM, SparkContext, RDDs and what is persisted."""
    classic = {"_jvm", "_jsc", "_jdf", "_jsparkSession", "rdd", "sparkContext", "persist", "cache", "localCheckpoint"}
    found = {
        str(file.relative_to(PACKAGE)): node.attr
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in classic
    }
    assert found and {name.partition("/")[0] for name in found} == {"spark"}, found
