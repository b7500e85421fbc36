"""Joining many rows to few keys without a hot task, however unevenly the rows share the keys."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.spark.workspace import Stage

#: Up to this many keys (some 100 bytes each) are broadcast, so that no row is shuffled.
BROADCAST_KEYS = 500_000
#: A key with more rows than this is joined by broadcast, whatever the number of keys: no task may get them all.
HOT_ROWS = 10_000


def join_few(rows: DataFrame, few: DataFrame, key: str, count: int) -> DataFrame:
    """Inner join.

    Args:
        few: one row a key, with ``size``, how many rows have it.
        count: rows of ``few``.
    """
    if count <= BROADCAST_KEYS:
        return rows.join(F.broadcast(few), key)
    hot, cold = few.where(F.col("size") > HOT_ROWS), few.where(F.col("size") <= HOT_ROWS)
    among_hot = rows.join(F.broadcast(hot), key)
    others = rows.join(F.broadcast(hot.select(key)), key, "left_anti")
    return among_hot.unionByName(others.join(cold, key))


def keepers(dropped: DataFrame, key: str) -> DataFrame:
    """The distinct ``key`` of the dropped rows and how many name it (``size``); combined on the map side, because
    one row may stand for a million."""
    return dropped.groupBy(key).agg(F.count(F.lit(1)).alias("size"))


def number(rows: DataFrame, by: str, name: str, stage: Stage) -> tuple[DataFrame, int]:
    """Replaces the column ``by`` by ``name``: 0, 1, 2, … in its order. And how many rows there are."""
    marked = rows.orderBy(by).drop(by)
    marked = marked.select("*", F.spark_partition_id().alias("part"), F.monotonically_increasing_id().alias("mark"))
    marked = stage("numbered", marked)
    parts = marked.groupBy("part").agg(F.count(F.lit(1)).alias("rows"), F.min("mark").alias("first")).collect()
    starts, start = [], 0
    for part in sorted(parts, key=lambda one: one["part"]):
        starts.append((part["part"], start - part["first"]))
        start += part["rows"]
    table = rows.sparkSession.createDataFrame(starts, "part int, start bigint")
    joined = marked.join(F.broadcast(table), "part")
    return joined.withColumn(name, F.col("mark") + F.col("start")).drop("part", "mark", "start"), start
