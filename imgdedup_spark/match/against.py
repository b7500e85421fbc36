"""Which rows are in another data set: each is asked for by itself, whatever becomes of the rows beside it."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.index.references import References
from imgdedup_spark.match.decided import short
from imgdedup_spark.spark.joins import join_few
from imgdedup_spark.spark.workspace import Stage


def found_in(rows: DataFrame, prints: Prints, stage: Stage, references: References) -> DataFrame:
    """The rows that match a reference: ``order``, ``reference`` (the rank of the earliest with an equal key, else of
    the earliest that is near), ``distance`` and ``reason``.

    Args:
        rows: ``key``, ``images``, ``rank`` and ``order``.
        stage: freezes a DataFrame.
    """
    groups = rows.groupBy("key", "images").agg(F.min("rank").alias("first"), F.count(F.lit(1)).alias("size"))
    groups = stage("asked", groups)
    known = stage("known", references.keyed(prints))
    equal = groups.join(known.withColumnRenamed("rank", "keeper"), ["key", "images"])
    # Rows without pictures have no distance from each other.
    distance = F.when(F.col("images") != 0, F.lit(0.0))
    parts = [equal.select("first", "keeper", distance.alias("distance"), F.lit(True).alias("same"))]
    if prints.is_near():
        parts.extend(_near(groups, known, prints, stage, references))
    found = stage("found", reduce(DataFrame.unionByName, parts))
    few = found.join(groups.select("key", "size", "first"), "first").withColumn("key", short(F.col("key")))
    joined = join_few(rows.select(short(F.col("key")).alias("key"), "order"), few, "key", found.count())
    outcome = prints.outcome(F.col("same"))
    return joined.select(
        "order",
        F.col("keeper").alias("reference"),
        outcome["distance"].cast("double").alias("distance"),
        outcome["reason"].alias("reason"),
    )


def _near(groups: DataFrame, known: DataFrame, prints: Prints, stage: Stage, references: References) -> list[DataFrame]:
    # Only here: a run that finds equal keys needs none of it.
    from imgdedup_spark.match.near import search_of

    search = search_of(prints, stage, references, among=False)
    rest = stage("asked_near", groups.join(known, ["key", "images"], "left_anti").where("images > 0"))
    parts = []
    for row in sorted(rest.groupBy("images").count().collect(), key=lambda row: row["images"]):
        here, there = (one.where(F.col("images") == row["images"]) for one in (rest, known))
        decided, _ = search(here.withColumnRenamed("first", "rank"), row["count"], there, row["images"])
        decided = decided.where("is_reference")
        parts.append(decided.select("first", "keeper", F.col("distance").cast("double"), F.lit(False).alias("same")))
    return parts
