"""Spark's settings while a stage runs, and how many tasks run at once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyspark
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote
from pyspark.util import inheritable_thread_target

from imgdedup_spark.errors import first_line

log = logging.getLogger("imgdedup")
#: Settings that this process was not allowed to set.
_refused: set[str] = set()
#: Rows in one Arrow batch of pictures. Spark's default of 10,000 is gigabytes of them, and moves 3.5 times
#: slower; below about 64 the cost of a batch itself begins to show.
PICTURE_BATCH_ROWS = 64
#: Bytes in one Arrow batch where Spark can bound them (4.x): a few large photographs.
PICTURE_BATCH_BYTES = 32 << 20
#: Tasks that each core should have, so that none waits long for the last of them.
TASKS_A_CORE = 4
#: Rows of a fingerprint table that one reducer takes in its stride; each is some 60 bytes.
ROWS_A_REDUCER = 100_000


@contextlib.contextmanager
def settings(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Sets Spark SQL settings for the body and puts back what was there. Unknown ones are set all the same:
    an older Spark ignores them. One that the platform refuses is an optimisation missed, and is told once."""
    before = {}
    for name, value in values.items():
        try:
            old = spark.conf.get(name, None)
            spark.conf.set(name, value)
        except Exception as error:  # each platform refuses in its own way
            if name not in _refused:
                _refused.add(name)
                log.info("%s is left as it is: %s", name, first_line(error))
        else:
            before[name] = old
    try:
        yield
    finally:
        for name, old in before.items():
            with contextlib.suppress(Exception):
                if old is None:
                    spark.conf.unset(name)
                else:
                    spark.conf.set(name, old)


def setting(spark: SparkSession, name: str, default: str) -> str:
    """A setting of Spark's; the default where it is not set, or the platform does not tell."""
    try:
        return str(spark.conf.get(name, default))
    except Exception:
        return default


def small_shuffles(spark: SparkSession, rows: int) -> contextlib.AbstractContextManager[None]:
    """Never more shuffle partitions than the rows are worth: 200 of them, Spark's default, cost a small run
    seconds, and hundreds of bytes a row for the headers of all but empty blocks."""
    name = "spark.sql.shuffle.partitions"
    before = setting(spark, name, "200")
    if not before.isdigit():
        # Databricks has `auto`, and knows better.
        return contextlib.nullcontext()
    return settings(spark, {name: str(min(int(before), rows // ROWS_A_REDUCER + 1))})


def parallelism(spark: SparkSession) -> int:
    """Tasks that the cluster runs at once."""
    if not is_remote():
        return spark.sparkContext.defaultParallelism
    # What Spark cuts a range into when nobody says how.
    numbers = spark.range(1 << 16).select(F.spark_partition_id().alias("number"))
    row = numbers.agg(F.max("number").alias("last")).first()
    assert row is not None
    return int(row["last"]) + 1


def case_matters(spark: SparkSession) -> bool:
    """Whether names of columns that differ by case alone are different."""
    return setting(spark, "spark.sql.caseSensitive", "false") == "true"


def partition_bytes(spark: SparkSession) -> int:
    """The most that one task reads of files, ``spark.sql.files.maxPartitionBytes``: ``134217728``, ``134217728b``,
    ``128m`` or ``128MB``."""
    text = setting(spark, "spark.sql.files.maxPartitionBytes", "128m").strip().lower().removesuffix("b")
    power = "kmgt".find(text[-1:]) + 1 if text[-1:] else 0
    number = text[:-1] if power else text
    return int(number) << (10 * power) if number.isdigit() else 128 << 20


def task_bytes(spark: SparkSession, total: int, least: int, most: int) -> int:
    """Bytes of files in one task, of so many in all: enough to be worth one, and so that every core has several."""
    return min(most, max(least, total // (TASKS_A_CORE * parallelism(spark))))


def together(spark: SparkSession, *actions: Callable[[], Any]) -> list[Any]:
    """Calls them side by side, and returns their results in order. Of small tables most of the time goes into
    planning on the driver, while all cores wait.

    Raises:
        Exception: the first that an action has raised, after all of them have ended.
    """
    # With the caller's job group and tags, so that who cancels the caller's jobs cancels these too.
    # Classic PySpark 3.5 knows no tags of a session, and wraps functions itself.
    plain = pyspark.__version__.startswith("3.") and not is_remote()
    wrapped: Callable[..., Any] = inheritable_thread_target if plain else inheritable_thread_target(spark)
    with ThreadPoolExecutor(max_workers=max(1, len(actions))) as pool:
        calls = [pool.submit(wrapped(action)) for action in actions]
    return [call.result() for call in calls]


def picture_settings(spark: SparkSession, rows: int | None = 1) -> contextlib.AbstractContextManager[None]:
    """Batches bounded for pictures, while a stage that moves them runs.

    Args:
        rows: least rows of a batch; None if no picture is moved.
    """
    if rows is None:
        return contextlib.nullcontext()
    rows = max(rows, PICTURE_BATCH_ROWS)
    return settings(
        spark,
        {
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(rows),
            "spark.sql.execution.arrow.maxBytesPerBatch": str(PICTURE_BATCH_BYTES),
            # The vectorised Parquet reader holds this many rows in the JVM at once; 4,096 photographs are gigabytes.
            "spark.sql.parquet.columnarReaderBatchSize": str(rows),
            "spark.sql.orc.columnarReaderBatchSize": str(rows),
        },
    )
