"""Finds the pairs and applies the first-come rule, in Spark tasks of bounded size.

Only rows of one *block* may match. Small blocks go into a task together; a large block is cut into segments, and each
pair of segments is a task, which gets both in one shuffle and multiplies their tiles. A task returns a few earliest
neighbours for each row, never all pairs, and one task applies the first-come rule to them. Rows whose few neighbours
were all dropped are searched again, among what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.kernels.cosine.rows import NO_SEARCH
from imgdedup_spark.kernels.cosine.task import COMPARISONS, HIGHEST, PAIR, SEARCHED, Search, decide_partition
from imgdedup_spark.spark.workspace import Stage

__all__ = ["ROW", "CosineOptions", "Stage", "search_and_decide"]
# The columns that travel with a row, besides its block.
ROW = ("is_reference", "rank", "cursor", "vector", "background")
_MATCHES_DDL = "kind tinyint, query bigint, base bigint, is_reference boolean, similarity double, more boolean"
_DECIDED_DDL = "rank bigint, keeper bigint, is_reference boolean, similarity double, cursor bigint"


@dataclass(frozen=True)
class CosineOptions:
    """How the pairs are found. The defaults suit two cores and a thousand.

    Attributes:
        all_pairs_limit: up to this many comparisons all pairs are compared and recall is 1; beyond, blocking. One
            core makes 0.5 to 1.3 billion comparisons a second (512 dimensions, threshold 0.9), so that 2e11, some
            630,000 vectors, take two cores about two minutes. A number of comparisons, not of seconds, so that the
            result does not depend on the cluster.
        whole_context: a context of at most this many rows is compared whole even then: cells would cost more than
            they save.
        segment_bytes: vectors of a segment, at most; a Python worker holds two, and what Arrow needs to carry them.
        min_segment_bytes: a segment is not made smaller than this for the sake of more tasks.
    """

    all_pairs_limit: int = 200_000_000_000
    whole_context: int = 20_000
    segment_bytes: int = 96 << 20
    min_segment_bytes: int = 32 << 20


def search_and_decide(
    rows: DataFrame,
    total: int,
    one_block: bool,
    search: Search,
    stage: Stage,
    options: CosineOptions,
    excluded: Exclusions,
) -> tuple[DataFrame, DataFrame | None, dict[str, int]]:
    """Searches and decides until every item is decided.

    Args:
        rows: ``block`` and the columns ``ROW``; a row occurs once in each of its blocks.
        total: how many rows that is, about.
        one_block: all rows are of one block.
        excluded: pairs that never match.

    Returns:
        The dropped items (columns of ``_DECIDED``), the highest cosines if wanted, and counts for the report.
    """
    current, matches, again, want_max = rows, None, None, search.want_max
    # References are searched once: of those that a row finds, one at least must be able to keep it out.
    search = replace(search, spare=excluded.most_references())
    number = 1
    while True:
        found = stage(f"embedding_matches_{number}", _find(current, total, search, options))
        found = found.withColumn("search", F.lit(number).cast("bigint"))
        matches = found if matches is None else matches.unionByName(found)
        decided = stage(f"embedding_decided_{number}", _decide(matches, again, excluded))
        asks = decided.where("cursor is not null").select("rank", "cursor")
        asking, dropped = decided.agg(F.count("cursor"), F.count("keeper")).first()
        if not asking:
            break
        # What was dropped keeps nobody from staying: the next search is among the others.
        gone = decided.where("keeper is not null").select("rank")
        current = rows.where(~F.col("is_reference")).drop("cursor").join(gone, "rank", "left_anti")
        current = current.join(asks, "rank", "left").withColumn(
            "cursor", F.coalesce("cursor", F.lit(NO_SEARCH).cast("bigint"))
        )
        if not one_block:
            blocks = rows.join(asks.select("rank"), "rank", "left_semi").select("block").distinct()
            current = current.join(blocks, "block", "left_semi")
        number += 1
        searched = asks.select("rank", F.lit(number).cast("bigint").alias("search"))
        again = searched if again is None else again.unionByName(searched)
        search = replace(search, want_max=False)

    highest = None
    if want_max:
        highest = matches.where(F.col("kind") == HIGHEST)
        highest = highest.groupBy(F.col("query").alias("rank")).agg(
            # Single precision rounds the sixth decimal differently from tile to tile.
            F.round(F.max("similarity"), 5).alias("max_similarity")
        )
    compared = matches.where(F.col("kind") == COMPARISONS).agg(F.sum("base")).first()[0]
    return decided, highest, {"comparisons": int(compared or 0), "dropped": dropped, "rounds": number}


def _find(rows: DataFrame, total: int, search: Search, options: CosineOptions) -> DataFrame:
    """The pairs among ``rows``: cuts them into tasks and runs ``search`` in each. Columns of ``_MATCHES``."""
    bytes_each = 4 * max(search.dims, 1)
    # Few segments, because each row travels once for every segment; four of them already make ten tasks.
    segment_bytes = min(max(total * bytes_each // 4, options.min_segment_bytes), options.segment_bytes)
    segment_rows = max(segment_bytes // bytes_each, 1)
    is_query = F.col("cursor") < NO_SEARCH
    sizes = rows.groupBy("block").agg(F.count_if(is_query).alias("queries"), F.count_if(~is_query).alias("others"))
    large = sizes.where(F.col("queries") + F.col("others") > segment_rows).collect()

    small_rows = max(total - sum(row["queries"] + row["others"] for row in large), 0)
    tasks = small_tasks = -(-small_rows // segment_rows)
    plan: list[tuple[int, int, int, int]] = []
    for row in sorted(large, key=lambda row: row["block"]):
        queries, others = -(-row["queries"] // segment_rows), -(-row["others"] // segment_rows)
        plan.append((row["block"], queries, others, tasks))
        tasks += queries * (queries + 1) // 2 + queries * others
    tasks = max(tasks, 1)

    spread = _spread(rows, plan, small_tasks)
    # With one task a partition, the longest wait is for one task. Spark places rows by a hash, so each task gets a
    # number whose hash is its partition.
    numbers = rows.sparkSession.range(20 * tasks, numPartitions=1).select(F.col("id").cast("int").alias("number"))
    numbers = numbers.groupBy(F.pmod(F.hash("number"), F.lit(tasks)).alias("task")).agg(F.min("number").alias("number"))
    placed = spread.join(F.broadcast(numbers), "task", "left").repartition(tasks, F.coalesce("number", "task"))
    # A row's neighbours are spread over the segments of its block, and a few of each are many together.
    widest = max((queries + others for _, queries, others, _ in plan), default=1)
    search = replace(search, cap=max(2 * search.cap // (widest + 1), 4) + search.spare)
    columns = ("task", "segment", "block", *ROW)
    return placed.select(*columns).mapInArrow(search, _MATCHES_DDL)


def _spread(rows: DataFrame, plan: Sequence[tuple[int, int, int, int]], small_tasks: int) -> DataFrame:
    """Adds ``segment`` and ``task``; a row of a large block is repeated for each task that needs it.

    Args:
        plan: for each large block: its number, the segments of queries and of other rows, its first task. Its tasks
            are the pairs of query segments, then the pairs of a query segment and one of others.
        small_tasks: the first so many tasks share the other blocks.
    """
    small = F.pmod(F.xxhash64("block"), F.lit(max(small_tasks, 1))).cast("int")
    if not plan:
        return rows.withColumn("segment", F.lit(0)).withColumn("task", small)
    schema = "block bigint, queries int, others int, first int"
    known = rows.sparkSession.createDataFrame([tuple(map(int, one)) for one in plan], schema)
    queries, others, first, segment = (F.col(name) for name in ("queries", "others", "first", "segment"))
    is_query = F.col("cursor") < NO_SEARCH
    count = F.when(is_query, queries).otherwise(others)
    pairs = (queries * (queries + 1) / 2).cast("int")

    def with_query(other: Column) -> Column:
        later, earlier = F.greatest(segment, other), F.least(segment, other)
        return first + (later * (later + 1) / 2).cast("int") + earlier

    of_query = F.concat(
        F.transform(F.sequence(F.lit(0), queries - 1), with_query),
        F.when(
            others > 0,
            F.transform(F.sequence(F.lit(0), others - 1), lambda o: first + pairs + o * queries + segment),
        ).otherwise(F.array().cast("array<int>")),
    )
    of_other = F.transform(
        F.sequence(F.lit(0), queries - 1), lambda q: first + pairs + (segment - queries) * queries + q
    )
    shared = rows.join(F.broadcast(known), "block", "left")
    shared = shared.withColumn(
        "segment",
        F.when(count.isNull(), F.lit(0)).otherwise(
            F.pmod(F.xxhash64("rank"), count).cast("int") + F.when(is_query, 0).otherwise(queries)
        ),
    )
    tasks = (
        F.when(queries.isNull(), F.array(small))
        .when(queries == 0, F.array().cast("array<int>"))
        .when(is_query, of_query)
        .otherwise(of_other)
    )
    return shared.withColumn("task", F.explode(tasks))


def _decide(matches: DataFrame, again: DataFrame | None, excluded: Exclusions) -> DataFrame:
    """Applies the first-come rule to all pairs found so far, in one task: some 40 bytes a pair, a few pairs a row."""
    pairs = matches.where(F.col("kind") == PAIR)
    if again is not None:
        searched = again.select(F.col("rank").alias("query"), "search", F.lit(SEARCHED).cast("tinyint").alias("kind"))
        pairs = pairs.unionByName(searched, allowMissingColumns=True)
    return pairs.coalesce(1).mapInArrow(partial(decide_partition, excluded), _DECIDED_DDL)
