"""The shuffle path: hashes travel to the tasks that hold their keys, packed in blocks, in units of bounded size.

A unit is the work of one reducer: the hashes whose context and first band(s) fall into some buckets. The buckets
are counted first. Small ones share a unit; one that is larger than a unit is cut into blocks by a mix of the
ranks, and every pair of blocks is a unit, so that no task is hot and memory stays bounded whatever the data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.bands import Words
from imgdedup_spark.blocks import block_batch, record_batch, values
from imgdedup_spark.hamming import Matcher
from imgdedup_spark.near_blocks import BLOCK_HASHES, Ranks, batch_to_table

# Roles of a row in a search. References come before everything else; the others are ordered by rank.
REFERENCE, TARGET, BOTH, QUERY = 0, 1, 2, 3

ROUTED_SCHEMA = "unit int, ranks binary, words binary, roles binary"
FOUND_SCHEMA = "rank bigint, is_reference boolean, neighbour bigint, distance int"

# Buckets of a prefix: enough to cut 10**9 hashes fine, few enough to count and to send along with every task.
BUCKETS = 4096
_COUNT_SCHEMA = "prefix int, bucket int, rows bigint"

Roles = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Routes:
    """Which units a row belongs to.

    Attributes:
        prefixes: the bands whose values (with the context) make a bucket. A row that the empty prefix gives a unit
            goes there
            alone; every other row goes to one unit for each of the other prefixes.
        first_unit: ``(prefixes, BUCKETS)`` the bucket's unit, the first of its units if it is split, or -1 for
            none.
        splits: ``(prefixes, BUCKETS)`` the blocks that a bucket is cut into, 1 for none.
        unit_prefix: the prefix number of every unit.
    """

    prefixes: tuple[tuple[int, ...], ...]
    first_unit: npt.NDArray[np.int64]
    splits: npt.NDArray[np.int64]
    unit_prefix: tuple[int, ...]

    def split_rows(self, matcher: Matcher, ranks: Ranks, words: Words) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """The units of a table, each with its row numbers."""
        rows = np.arange(len(words))
        for number, prefix in enumerate(self.prefixes):
            bucket = matcher.buckets(words[rows], prefix, BUCKETS)
            unit, split = self.first_unit[number][bucket], self.splits[number][bucket]
            whole = (unit >= 0) & (split == 1)
            yield from _by_value(rows[whole], unit[whole])
            for first in np.unique(unit[split > 1]).tolist():
                members = rows[unit == first]
                blocks = int(split[unit == first][0])
                mixed = _mix(ranks[members]) % np.uint64(blocks)
                for i, (a, b) in enumerate(itertools.combinations(range(blocks), 2)):
                    yield first + i, members[(mixed == a) | (mixed == b)]
            if not prefix:
                rows = rows[unit < 0]


def _by_value(rows: npt.NDArray[np.int64], units: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    order = np.argsort(units, kind="stable")
    rows, units = rows[order], units[order]
    starts = np.flatnonzero(np.diff(units, prepend=-1))
    for start, end in itertools.pairwise([*starts.tolist(), len(rows)]):
        yield int(units[start]), rows[start:end]


def _mix(ranks: Ranks) -> npt.NDArray[np.uint64]:
    """Spreads ranks evenly (the finaliser of Steele's SplitMix64), whatever pattern they have."""
    mixed = ranks.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def prefixes_for(matcher: Matcher, hashes: int, unit_hashes: int) -> tuple[tuple[int, ...], ...]:
    """The prefixes that rows are routed by: first the context, if there is one, then one band, or two for very
    many hashes.

    One band gives T + 1 copies of each hash, two give (T + 1)(T + 2) / 2, and much smaller buckets.
    """
    plan = matcher.plan
    if plan.k == 0:
        return ((),)
    width = min(plan.widths[: plan.first_bands])
    # A bucket that is cut into b blocks is sent b - 1 times; more than T + 2 halves of that, and a second band is
    # cheaper.
    blocks = 2 * hashes / 2**width / unit_hashes
    if plan.k > 1 and blocks > plan.threshold / 2 + 2:
        last = plan.first_bands + 1
        bands: tuple[tuple[int, ...], ...] = tuple(itertools.combinations(range(last), 2))
    else:
        bands = tuple((band,) for band in range(plan.first_bands))
    return ((), *bands) if matcher.contexts else bands


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

    columns = ["rank", "code", *(["context"] if matcher.contexts else [])]
    counted = rows.select(*columns).mapInArrow(count, _COUNT_SCHEMA)
    totals = np.zeros((len(prefixes), BUCKETS), dtype=np.int64)
    for row in counted.groupBy("prefix", "bucket").agg(F.sum("rows").alias("total")).collect():
        totals[row["prefix"], row["bucket"]] = row["total"]
    return assign_units(prefixes, totals, unit_hashes)


def assign_units(prefixes: tuple[tuple[int, ...], ...], totals: npt.NDArray[np.int64], unit_hashes: int) -> Routes:
    """Packs buckets into units, prefix by prefix.

    Args:
        prefixes: see ``Routes``.
        totals: ``(prefixes, BUCKETS)`` rows of each bucket.
        unit_hashes: most rows of a unit.
    """
    first_unit = np.full(totals.shape, -1, dtype=np.int64)
    splits = np.ones(totals.shape, dtype=np.int64)
    unit_prefix: list[int] = []
    for number, prefix in enumerate(prefixes):
        room = 0
        # A context that fills more than a unit is left to the bands, unless there are none.
        keeps_large = bool(prefix) or len(prefixes) == 1
        for bucket in np.flatnonzero(totals[number]).tolist():
            size = int(totals[number, bucket])
            if size > unit_hashes:
                if keeps_large:
                    # Pairs of blocks: two blocks must fit one unit.
                    blocks = max(3, math.ceil(2 * size / unit_hashes))
                    first_unit[number, bucket] = len(unit_prefix)
                    splits[number, bucket] = blocks
                    unit_prefix.extend([number] * math.comb(blocks, 2))
                    room = 0
                continue
            if size > room:
                unit_prefix.append(number)
                room = unit_hashes
            first_unit[number, bucket] = len(unit_prefix) - 1
            room -= size
    return Routes(prefixes, first_unit, splits, tuple(unit_prefix))


def search_by_shuffle(matcher: Matcher, rows: DataFrame, routes: Routes) -> DataFrame:
    """For every query that has a neighbour, the earliest (``FOUND_SCHEMA``), once a unit that found any.

    Args:
        rows: rank, code, (with contexts) context, role.
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

    columns = ["rank", "code", *(["context"] if matcher.contexts else []), "role"]
    units = max(1, len(routes.unit_prefix))
    return (
        rows.select(*columns)
        .mapInArrow(route, ROUTED_SCHEMA)
        # One partition a unit on average; sorted, a unit's blocks come together and only one unit is held at a
        # time.
        .repartition(units, "unit")
        .sortWithinPartitions("unit")
        .mapInArrow(search, FOUND_SCHEMA)
    )


def earliest(found: DataFrame) -> DataFrame:
    """One row a query: its earliest neighbour, references first."""
    least = F.min(F.struct((~F.col("is_reference")).alias("later"), "neighbour", "distance")).alias("least")
    return (
        found.groupBy("rank")
        .agg(least)
        .select(
            "rank",
            (~F.col("least.later")).alias("is_reference"),
            F.col("least.neighbour").alias("neighbour"),
            F.col("least.distance").alias("distance"),
        )
    )


def search_unit(matcher: Matcher, prefix: tuple[int, ...], ranks: Ranks, words: Words, roles: Roles) -> Iterator[Any]:
    """Searches one unit: batches of ``FOUND_SCHEMA``."""
    later = roles != REFERENCE
    # Blocks of one origin come sorted, and sorting a million rows takes as long as searching them.
    if not ((later[1:] > later[:-1]) | ((later[1:] == later[:-1]) & (ranks[1:] > ranks[:-1]))).all():
        order = np.lexsort((ranks, later))
        ranks, words, roles = ranks[order], words[order], roles[order]
    rows = np.arange(len(ranks), dtype=np.int32)
    best = rows.copy()
    queries = rows[(roles == BOTH) | (roles == QUERY)]
    targets = rows[roles != QUERY]
    if len(queries) == len(targets) == len(rows):
        targets = queries
    matcher.search(words, targets, queries, best, prefix)
    found = queries[best[queries] != queries]
    if len(found):
        neighbours = best[found]
        yield record_batch(
            rank=ranks[found],
            is_reference=roles[neighbours] == REFERENCE,
            neighbour=ranks[neighbours],
            distance=matcher.distances(words, found, neighbours),
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
