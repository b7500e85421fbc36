"""The shuffle path: hashes travel to the tasks that hold their keys, packed in blocks, in units of bounded size.

A unit is the work of one reducer: the hashes whose context and first band(s) fall into some buckets. The buckets
are counted first. Small ones share a unit; one that is larger than a unit is cut into blocks by a mix of the
ranks, and every pair of blocks is a unit, so that no task is hot and memory stays bounded whatever the data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.arrow import BLOCK_HASHES, block_batch, record_batch, values
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.blocks import Ranks, batch_to_table
from imgdedup_spark.kernels.hamming.table import Matcher
from imgdedup_spark.kernels.hamming.units import (
    BUCKETS,
    FOUND_SCHEMA,
    Roles,
    Routes,
    assign_units,
    prefixes_for,
    search_unit,
)

ROUTED_SCHEMA = "unit int, ranks binary, words binary, roles binary"
_COUNT_SCHEMA = "prefix int, bucket int, rows bigint"


def plan_routes(matcher: Matcher, rows: DataFrame, hashes: int, unit_hashes: int) -> Routes:
    """Counts the buckets and gives them units of at most about ``unit_hashes`` rows."""
    prefixes = prefixes_for(matcher, hashes, unit_hashes)

    def count(batches: Iterator[Any]) -> Iterator[Any]:
        totals = np.zeros((len(prefixes), BUCKETS), dtype=np.int64)
        for batch in batches:
            if batch.num_rows:
                _, words = batch_to_table(matcher, batch)
                for number, prefix in enumerate(prefixes):
                    totals[number] += np.bincount(matcher.buckets(words, prefix, BUCKETS), minlength=BUCKETS)
        numbers, buckets = np.nonzero(totals)
        yield record_batch(
            prefix=numbers.astype(np.int32), bucket=buckets.astype(np.int32), rows=totals[numbers, buckets]
        )

    counted = rows.select(*matcher.columns).mapInArrow(count, _COUNT_SCHEMA)
    totals = np.zeros((len(prefixes), BUCKETS), dtype=np.int64)
    for row in counted.groupBy("prefix", "bucket").agg(F.sum("rows").alias("total")).collect():
        totals[row["prefix"], row["bucket"]] = row["total"]
    return assign_units(prefixes, totals, unit_hashes)


def search_by_shuffle(matcher: Matcher, rows: DataFrame, routes: Routes) -> DataFrame:
    """For every query that has a neighbour, the earliest (``FOUND_SCHEMA``), once a unit that found any.

    Args:
        rows: ``matcher.columns`` and role.
    """

    def route(batches: Iterator[Any]) -> Iterator[Any]:
        for ranks, words, roles in _tables_with_roles(matcher, batches):
            for unit, members in routes.split_rows(matcher, ranks, words):
                if len(members):
                    yield block_batch(unit=unit, ranks=ranks[members], words=words[members], roles=roles[members])

    def search(batches: Iterator[Any]) -> Iterator[Any]:
        for unit, ranks, words, roles in _units(matcher, batches):
            prefix = routes.prefixes[routes.unit_prefix[unit]]
            yield from search_unit(matcher, prefix, ranks, words, roles)

    units = max(1, len(routes.unit_prefix))
    return (
        rows.select(*matcher.columns, "role")
        .mapInArrow(route, ROUTED_SCHEMA)
        # One partition a unit on average; sorted, a unit's blocks come together and only one unit is held at a
        # time.
        .repartition(units, "unit")
        .sortWithinPartitions("unit")
        .mapInArrow(search, FOUND_SCHEMA)
    )


def earliest(found: DataFrame) -> DataFrame:
    """One row a query: its earliest neighbour, references first.

    In aggregates of plain numbers: Spark hashes those, and sorts all rows for one of structs.
    """
    of_references = F.when(F.col("is_reference"), F.col("neighbour"))
    of_others = F.when(~F.col("is_reference"), F.col("neighbour"))
    return (
        found.groupBy("rank")
        .agg(
            F.min(of_references).alias("reference"),
            F.min(of_others).alias("other"),
            F.min_by("distance", of_references).alias("reference_distance"),
            F.min_by("distance", of_others).alias("other_distance"),
        )
        .select(
            "rank",
            F.col("reference").isNotNull().alias("is_reference"),
            F.coalesce("reference", "other").alias("neighbour"),
            F.coalesce("reference_distance", "other_distance").alias("distance"),
        )
    )


def _tables_with_roles(matcher: Matcher, batches: Iterator[Any]) -> Iterator[tuple[Ranks, Words, Roles]]:
    """Gathers batches into tables of about ``BLOCK_HASHES`` rows."""
    gathered: list[tuple[Ranks, Words, Roles]] = []
    count = 0
    for batch in itertools.chain(batches, [None]):
        if batch is not None and batch.num_rows:
            ranks, words = batch_to_table(matcher, batch)
            gathered.append((ranks, words, batch.column("role").to_numpy(zero_copy_only=False).astype(np.uint8)))
            count += batch.num_rows
        if gathered and (batch is None or count >= BLOCK_HASHES):
            ranks, words, roles = (np.concatenate(column) for column in zip(*gathered, strict=True))
            yield ranks, words, roles
            gathered, count = [], 0


def _units(matcher: Matcher, batches: Iterator[Any]) -> Iterator[tuple[int, Ranks, Words, Roles]]:
    """Joins the blocks of each unit; they come sorted by unit."""
    current = -1
    pieces: list[tuple[Ranks, Words, Roles]] = []
    for batch in batches:
        units = batch.column("unit").to_pylist()
        for row, unit in enumerate(units):
            if unit != current and pieces:
                yield current, *_join(pieces)
                pieces = []
            current = unit
            words = values(batch, "words", row, np.uint64).reshape(-1, matcher.width)
            pieces.append((values(batch, "ranks", row, np.int64), words, values(batch, "roles", row, np.uint8)))
    if pieces:
        yield current, *_join(pieces)


def _join(pieces: list[tuple[Ranks, Words, Roles]]) -> tuple[Ranks, Words, Roles]:
    ranks, words, roles = zip(*pieces, strict=True)
    return np.concatenate(ranks), np.concatenate(words), np.concatenate(roles)
