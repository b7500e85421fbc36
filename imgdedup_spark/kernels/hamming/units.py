"""Units of the search that a shuffle makes: which hashes must meet, and how one unit is searched."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.arrow import record_batch
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.blocks import Ranks
from imgdedup_spark.kernels.hamming.compare import Rows
from imgdedup_spark.kernels.hamming.table import Matcher

# Roles of a row in a search. References come before everything else; the others are ordered by rank.
REFERENCE, TARGET, BOTH, QUERY = 0, 1, 2, 3
FOUND_SCHEMA = "rank bigint, is_reference boolean, neighbour bigint, distance int"
# Buckets of a prefix: enough to cut 10**9 hashes fine, few enough to count and to send along with every task.
BUCKETS = 4096
Roles = npt.NDArray[np.uint8]


def search_share(matcher: Matcher, words: Words, task: int, tasks: int) -> tuple[Rows, Rows]:
    """What one of several tasks finds: the rows with an earlier neighbour among its keys, and the earliest of those."""
    rows = np.arange(len(words), dtype=np.int32)
    best = rows.copy()
    if matcher.plan.k == 0:
        # Every so-many-th query, since later ones have more rows before them.
        matcher.search(words, rows, rows[task::tasks], best)
    else:
        for band in range(matcher.plan.first_bands):
            mine = np.flatnonzero(matcher.buckets(words, (band,), tasks) == task).astype(np.int32)
            matcher.search(words, mine, mine, best, (band,))
    found = np.flatnonzero(best != rows).astype(np.int32)
    return found, best[found]


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
