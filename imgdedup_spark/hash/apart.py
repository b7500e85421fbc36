"""Rows that ``--never`` names: found by their ids, and told from their equals by keys of their own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType

from imgdedup_spark.files.never import Never
from imgdedup_spark.kernels.barred import Numbers
from imgdedup_spark.spark.local import to_driver

#: The column of a row's number; 0 for nearly all.
NUMBER = "number"
#: What the key of a row with a number ends in: a SHA-256, so that no other row's key is the same.
_SUFFIX_BYTES = 32


def numbers_in(table: pa.Table, never: Never, by: str) -> Numbers:
    """The numbers of rows in the driver, which have ``id``, as numbers of their ``by``."""
    found = never.numbers(table.column("id"))
    return _sorted(np.asarray(table.column(by))[found > 0], found[found > 0])


def find_numbers(rows: DataFrame, never: Never, by: str) -> Numbers:
    """The same of rows that Spark has."""
    names = list(zip(never.names.to_pylist(), range(1, len(never.names) + 1), strict=True))
    few = rows.sparkSession.createDataFrame(names, f"id string, {NUMBER} bigint")
    # A broadcast: they were written down by people.
    is_binary = isinstance(rows.schema["id"].dataType, BinaryType)
    text = F.lower(F.hex("id")) if is_binary else F.col("id").cast("string")
    named = rows.select(by, text.alias("id")).join(F.broadcast(few), "id")
    table = to_driver(named.select(by, NUMBER))
    return _sorted(np.asarray(table.column(by)), np.asarray(table.column(NUMBER)))


def _sorted(ranks: np.ndarray, numbers: np.ndarray) -> Numbers:
    order = np.argsort(ranks)
    return Numbers(ranks[order].astype(np.int64), numbers[order].astype(np.int64))


def apart(rows: DataFrame, numbers: Numbers, by: str) -> DataFrame:
    """Adds ``number``, and gives rows that have one a ``key`` of their own."""
    pairs = list(zip(numbers.ranks.tolist(), numbers.numbers.tolist(), strict=True))
    few = rows.sparkSession.createDataFrame(pairs, f"{by} bigint, {NUMBER} bigint")
    marked = rows.join(F.broadcast(few), by, "left").withColumn(NUMBER, F.coalesce(NUMBER, F.lit(0)))
    own = F.concat("key", F.unhex(F.sha2(F.col(NUMBER).cast("string"), 256)))
    return marked.withColumn("key", F.when(F.col(NUMBER) > 0, own).otherwise(F.col("key")))


def shared_key() -> Column:
    """The key that a row shares with its equals, whether it has a number or not."""
    own = F.expr(f"substring(key, 1, length(key) - {_SUFFIX_BYTES})")
    return F.when(F.col(NUMBER) > 0, own).otherwise(F.col("key"))
