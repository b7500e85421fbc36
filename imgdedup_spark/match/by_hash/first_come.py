"""Near-duplicates: from distinct hashes to who keeps whom, by the first-come rule, with every pair found.

Going through the items by rank, an item is dropped if an already kept item (or any reference) is within the
threshold of every part, and it names the earliest such keeper. The answer does not depend on the plan, the path or
the partitions.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.barred import NOT_BARRED, Barred, Numbers
from imgdedup_spark.kernels.hamming.blocks import DECISION_SCHEMA
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.hamming.table import Matcher
from imgdedup_spark.kernels.hamming.units import BOTH, QUERY, REFERENCE, TARGET
from imgdedup_spark.match.by_hash.broadcast import build_table, decide_by_broadcast
from imgdedup_spark.match.by_hash.lookup import lookup_by_broadcast, lookup_packed
from imgdedup_spark.match.by_hash.one_task import decide_in_one_task
from imgdedup_spark.match.by_hash.plan import NearOptions, make_matcher, sample_codes
from imgdedup_spark.match.by_hash.rounds import decisions_of, resolve_rest
from imgdedup_spark.match.by_hash.shuffle import earliest, plan_routes, search_by_shuffle
from imgdedup_spark.spark.settings import parallelism, settings
from imgdedup_spark.spark.workspace import Stage

__all__ = ["Earlier", "first_come"]
log = logging.getLogger(__name__)
# Hashes of a unit that are worth a task of their own.
SMALLEST_UNIT = 100_000
# A packed block is some 30 MB: by Spark's default of 10,000 rows an Arrow batch would be gigabytes, and one by one they
# are searched while the next one is read.
_ONE_BLOCK_A_BATCH = {"spark.sql.execution.arrow.maxRecordsPerBatch": "1"}
_DEFAULTS = NearOptions()


@dataclass(frozen=True)
class Earlier:
    """What is kept once and for all, before all items.

    Attributes:
        frame: the columns of items, with ranks of their own; None if there are none.
        count: how many they are at most; if there are any, the plan depends on it, and the answer does not.
        packed: the same (some may be there twice) without contexts, as an index keeps them: ``rows``, ``base``,
            ``positions``, ``codes`` (see ``packed``).
        numbers: their numbers, as far as they are not 0.
    """

    frame: DataFrame | None = None
    count: int = 0
    packed: DataFrame | None = None
    numbers: Numbers = Numbers()  # noqa: RUF009 - nothing changes it


_NOTHING = Earlier()


def first_come(
    items: DataFrame,
    count: int,
    parts: Sequence[Part],
    *,
    stage: Stage,
    earlier: Earlier = _NOTHING,
    among: bool = True,
    barred: Barred = NOT_BARRED,
    options: NearOptions = _DEFAULTS,
) -> tuple[DataFrame, dict[str, Any]]:
    """Decides which items are kept.

    Args:
        items: ``rank`` bigint (unique; the smaller comes first), ``code`` binary (the parts one after another,
            each of
            ``ceil(bits / 8)`` bytes, big-endian, right-aligned) and maybe ``context`` binary (only items of equal
            contexts match) and, with ``barred``, ``number``. No two items have the same code, context and number.
        count: how many they are.
        parts: what the code is made of.
        stage: ``stage(name, df)`` stores a DataFrame and returns it read back, so that nothing is computed twice.
        earlier: references.
        among: whether the items are compared with each other, too; if not, those near no reference have no row.
        barred: pairs of numbers (``pack_pairs``) that never match; 0 is in none.
        options: tuning.

    Returns:
        ``rank``, ``keeper`` (the item's own rank if it is kept), ``is_reference`` (whether the keeper is a reference),
        ``distance`` (bits; the largest over the reported parts), one row an item; and the plan, for log and
        summary.
    """
    if count == 0:
        empty = items.sparkSession.createDataFrame([], DECISION_SCHEMA)
        return empty, {"path": "broadcast", "k": 0, "bands": 0, "keys": 0, "comparisons": 0, "rounds": 0, "hashes": 0}
    has_contexts = "context" in items.columns
    if has_contexts:
        items = _digest_contexts(items)
    references = earlier.frame
    if references is not None and has_contexts:
        references = _digest_contexts(references)
    known = earlier.count
    matcher = make_matcher(sample_codes(items, count), parts, has_contexts, count, known, options, barred)
    search = _Search(items.sparkSession, matcher, stage, options)
    info: dict[str, Any] = {**matcher.plan.summary(), "hashes": count, "references": known}

    found: DataFrame | None = None
    if references is not None and known:
        if earlier.packed is not None and search.fits_lookup(count):
            table = stage("near_queries", search.table(items, count))
            with settings(search.spark, _ONE_BLOCK_A_BATCH):
                found = stage("near_references", lookup_packed(matcher, table, earlier.packed, earlier.numbers))
        else:
            found = search.lookup("near_queries", items, count, references, known, True)
    if not among:
        if found is None:
            return items.sparkSession.createDataFrame([], DECISION_SCHEMA), info
        found = stage("near_references_earliest", earliest(found))
        return found.select("rank", F.col("neighbour").alias("keeper"), "is_reference", "distance"), info
    if found is None or search.fits_one_task(count):
        decided, path, rounds = search.decide(items, count, found)
    else:
        found = stage("near_references_earliest", earliest(found))
        rest = items.join(found.select("rank"), "rank", "left_anti")
        decided, path, rounds = search.decide(rest, count - found.count())
        decided = decided.unionAll(found.select("rank", F.col("neighbour").alias("keeper"), "is_reference", "distance"))
    info |= {"path": path, "rounds": rounds}
    log.info("near-duplicates: %s", ", ".join(f"{key} {value}" for key, value in info.items()))
    return decided, info


def _digest_contexts(items: DataFrame) -> DataFrame:
    """Contexts of any length as 128 bits of their SHA-256: equal digests are equal contexts."""
    digest = F.unhex(F.substring(F.sha2(F.col("context"), 256), 1, 32))
    return items.withColumn("context", digest)


@dataclass(frozen=True)
class _Search:
    """One run's searches."""

    spark: Any
    matcher: Matcher
    stage: Stage
    options: NearOptions

    def fits_broadcast(self, count: int) -> bool:
        """Whether a table of so many hashes may go to every task."""
        return count * 8 * (self.matcher.width + 1) <= self.options.broadcast_bytes

    def fits_lookup(self, count: int) -> bool:
        """Whether so many hashes may go to every task, to be found among others."""
        return self.options.path != "shuffle" and count <= self.options.lookup_hashes

    def table(self, items: DataFrame, count: int) -> DataFrame:
        return build_table(self.matcher, items.select(*self.matcher.columns), count)

    def decide(self, items: DataFrame, count: int, found: DataFrame | None = None) -> tuple[DataFrame, str, int]:
        """Decisions among the items, the path taken and its rounds.

        Args:
            found: what some of them are near to outside; only where they fit one task.
        """
        path = self._path(count)
        if self.fits_one_task(count):
            return decide_in_one_task(self.matcher, items, found), path, 1
        assert found is None
        if path == "shuffle":
            decided, rounds = self._decide_by_shuffle(items, count)
            return decided, path, rounds
        # Read twice: to be searched, and to be decided on.
        table = self.stage("near_table", self.table(items, count))
        decided = decide_by_broadcast(self.matcher, table, self._tasks(count))
        return self.stage("near_decisions", decided), path, 1

    def fits_one_task(self, count: int) -> bool:
        """Whether a single task decides among so many items."""
        return self._path(count) == "broadcast" and self._tasks(count) <= 1

    def _path(self, count: int) -> str:
        return self.options.path or ("broadcast" if self.fits_broadcast(count) else "shuffle")

    def _tasks(self, count: int) -> int:
        if self.options.tasks is not None:
            return self.options.tasks
        if self.matcher.plan.search_seconds(count) < self.options.task_seconds:
            return 1
        return 2 * parallelism(self.spark)

    def lookup(
        self, name: str, queries: DataFrame, count: int, targets: DataFrame, known: int, references: bool
    ) -> DataFrame:
        """For each query that has a neighbour among the targets, the earliest (``FOUND_SCHEMA``) and maybe others."""
        if self.fits_lookup(count):
            table = self.stage(name, self.table(queries, count))
            return lookup_by_broadcast(self.matcher, table, targets.select(*self.matcher.columns), references)
        role = REFERENCE if references else TARGET
        rows = queries.select(*self.matcher.columns, F.lit(QUERY).alias("role")).unionAll(
            targets.select(*self.matcher.columns, F.lit(role).alias("role"))
        )
        return self._search(rows, count + known)

    def _search(self, rows: DataFrame, count: int) -> DataFrame:
        # Small jobs are cut finer, so that every core has units to do.
        copies = count * max(1, self.matcher.plan.first_bands)
        unit_hashes = min(self.options.unit_hashes, max(SMALLEST_UNIT, copies // (2 * parallelism(self.spark))))
        routes = plan_routes(self.matcher, rows, count, unit_hashes)
        return search_by_shuffle(self.matcher, rows, routes)

    def _decide_by_shuffle(self, items: DataFrame, count: int) -> tuple[DataFrame, int]:
        """Rounds, until what is still open fits one task.

        In a round every open item finds its earliest neighbour that is not dropped. Without one it is kept; if
        that neighbour is no longer open, the item is dropped by it; else it stays open.
        """
        rounds = 0
        dropped: list[DataFrame] = []
        rows = items.select(*self.matcher.columns, F.lit(BOTH).alias("role"))
        while True:
            rounds += 1
            found = self.stage(f"near_found_{rounds}", earliest(self._search(rows, count)))
            # Whoever has an earlier neighbour is not kept yet, so whoever depends on it stays open.
            waiting = found.select(F.col("rank").alias("neighbour"), F.lit(True).alias("waits"))
            settled = found.join(waiting, "neighbour", "left").withColumn("waits", F.col("waits").isNotNull())
            # Stored, as is the rest: all of it is read again by each round that follows.
            settled = self.stage(f"near_settled_{rounds}", settled.select("rank", "neighbour", "distance", "waits"))
            dropped.append(settled.where(~F.col("waits")).drop("waits"))
            open_count = settled.where("waits").count()
            if open_count == 0:
                return self.stage("near_decisions", decisions_of(items, reduce(DataFrame.unionAll, dropped))), rounds
            rows = rows.drop("role").join(settled.select("rank", "waits"), "rank", "left")
            role = F.when(F.col("waits"), F.lit(BOTH)).otherwise(F.lit(TARGET))
            rows = rows.where(F.coalesce("waits", F.lit(True))).withColumn("role", role).drop("waits")
            rows = self.stage(f"near_rest_{rounds}", rows)
            if self.fits_broadcast(open_count):
                break
        dropped.append(self._decide_rest(rows, open_count, count))
        return self.stage("near_decisions", decisions_of(items, reduce(DataFrame.unionAll, dropped))), rounds + 1

    def _decide_rest(self, rest: DataFrame, open_count: int, count: int) -> DataFrame:
        """Who of the open items (of role ``BOTH``) is dropped and by whom: rank, neighbour, distance."""
        queries = rest.where(F.col("role") == BOTH).drop("role")
        kept = rest.where(F.col("role") != BOTH).drop("role")
        outside = earliest(self.lookup("near_open_table", queries, open_count, kept, count - open_count, False))
        joined = queries.join(outside.select("rank", "neighbour", "distance"), "rank", "left")
        schema = "rank bigint, neighbour bigint, distance int"
        return joined.repartition(1).mapInArrow(resolve_rest(self.matcher, self.options.block), schema)
