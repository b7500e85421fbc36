"""Fixtures: one Spark session for the whole run (classic or Connect), and real photographs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

# Before the JVM starts: workers must be this Python.
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable

#: ``classic`` or ``connect``: the same tests run on both (make test, make test-connect).
MODE = os.environ.get("IMGDEDUP_TEST_SPARK", "classic")


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("tests")
    builder = builder.remote("local[2]") if MODE == "connect" else builder.master("local[2]")
    session = (
        builder.config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )
    yield session
    session.stop()
