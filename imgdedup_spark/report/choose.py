"""What a report shows: a few groups and pairs, the doubtful ones first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.kernels.hashes.quality import FLOOR
from imgdedup_spark.report.distances import closest_pairs, spread
from imgdedup_spark.report.outcome import Outcome

#: What is shown of each kind: as much as one looks through. Some 350 thumbnails together, 3 MB.
PAIRS, GROUPS, SUSPICIOUS, MEMBERS = 12, 12, 8, 12
#: Groups that are looked at for doubts, largest first; and members compared with each other.
_LOOKED_AT, _COMPARED = 1000, 64
# So many copies of one picture are seldom meant: a placeholder, a logo, an advertisement.
_LARGE, _LARGE_SHARE = 50, 0.01


@dataclass(frozen=True)
class Row:
    """A row to show.

    Attributes:
        facts: what ``hashes/`` knows of it (``Outcome.facts``).
        distance: to its keeper; None for one that stays.
    """

    id: str
    facts: Mapping[str, Any]
    distance: float | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Pair:
    """Two rows: one that stays, and one that was dropped for it or stays as well."""

    kept: Row
    other: Row
    distance: float
    similarity: float | None = None


@dataclass(frozen=True)
class Group:
    """A row that stays and rows that were dropped for it.

    Attributes:
        size: how many there are, the kept one too; not all are shown.
        doubts: why to look at it.
    """

    kept: Row
    members: tuple[Row, ...]
    size: int
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """What is shown.

    Attributes:
        worst: accepted pairs with the largest distances, largest first.
        beyond: the closest pairs that were both kept, closest first.
        asked, there: so many rows were compared with all others for ``beyond``, of so many.
    """

    suspicious: tuple[Group, ...]
    groups: tuple[Group, ...]
    worst: tuple[Pair, ...]
    beyond: tuple[Pair, ...]
    asked: int
    there: int

    @property
    def ids(self) -> list[str]:
        """Of all rows that are shown, most important first."""
        pairs = [one.id for pair in (*self.worst, *self.beyond) for one in (pair.kept, pair.other)]
        groups = (*self.suspicious, *self.groups)
        return list(dict.fromkeys([*pairs, *(one.id for group in groups for one in (group.kept, *group.members))]))


def choose(outcome: Outcome) -> Chosen:
    """Chooses what a report shows of an outcome."""
    counts = pc.value_counts(outcome.duplicates["kept_id"].combine_chunks().drop_null())
    kept, sizes = counts.field("values"), np.asarray(counts.field("counts")) + 1
    largest = np.argsort(-sizes, kind="stable")[:_LOOKED_AT]
    members = _members(outcome, kept.take(pa.array(largest)))
    groups = [
        _group(outcome, kept[int(one)].as_py(), members.get(kept[int(one)].as_py(), []), int(sizes[one]))
        for one in largest
    ]
    doubtful = sorted((one for one in groups if one.doubts), key=lambda one: (-len(one.doubts), -one.size))
    pairs, asked, there = closest_pairs(outcome, PAIRS)
    beyond = [Pair(_row(outcome, one.row), _row(outcome, one.other), one.distance) for one in pairs]
    return Chosen(
        tuple(doubtful[:SUSPICIOUS]), tuple(groups[:GROUPS]), tuple(_worst(outcome)), tuple(beyond), asked, there
    )


def _row(outcome: Outcome, row: int, line: Mapping[str, Any] | None = None) -> Row:
    if line is None:
        return Row(outcome.ids[row].as_py(), outcome.facts(row))
    return Row(line["id"], outcome.facts(row), line["distance"], line["similarity"])


def _kept(outcome: Outcome, row_id: str) -> Row:
    row = int(outcome.rows(pa.array([row_id], pa.string()))[0])
    return Row(row_id, outcome.facts(row))


def _lines(outcome: Outcome, table: pa.Table) -> Iterator[tuple[dict[str, Any], int]]:
    """Lines of ``duplicates`` and their rows of ``hashes``."""
    return zip(table.to_pylist(), outcome.rows(table["id"].combine_chunks()).tolist(), strict=True)


def _members(outcome: Outcome, kept: pa.Array) -> dict[str, list[Row]]:
    """The rows dropped for each of these, farthest first, as many as are looked at."""
    few = outcome.duplicates.filter(pc.is_in(outcome.duplicates["kept_id"], kept))
    few = few.sort_by([("distance", "descending"), ("id", "ascending")])
    # In a group of millions only the first count.
    codes = np.asarray(few["kept_id"].combine_chunks().dictionary_encode().indices)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    few = few.take(pa.array(np.sort(order[np.arange(len(order)) - starts < _COMPARED])))
    found: dict[str, list[Row]] = {}
    for line, row in _lines(outcome, few):
        found.setdefault(line["kept_id"], []).append(_row(outcome, row, line))
    return found


def _group(outcome: Outcome, kept_id: str, members: list[Row], size: int) -> Group:
    kept = _kept(outcome, kept_id)
    doubts = []
    if size > max(_LARGE, _LARGE_SHARE * len(outcome.ids)):
        doubts.append("very large")
    if any((one.facts.get("quality") or FLOOR) < FLOOR for one in (kept, *members)):
        doubts.append("flat pictures")
    limit = outcome.step.get("threshold") or 0
    if limit and len(members) > 1 and not outcome.config.get("stages"):
        rows = outcome.rows(pa.array([one.id for one in members], pa.string()))
        widest = spread(outcome, rows[rows >= 0])
        if widest > limit:
            doubts.append(f"members up to {widest:g} bits from each other")
    return Group(kept, tuple(members[:MEMBERS]), size, tuple(doubts))


def _worst(outcome: Outcome) -> Iterator[Pair]:
    """One pair of a group at most: twelve lines of one group say what one says."""
    direct = outcome.duplicates.filter(pc.greater(outcome.duplicates["distance"], 0))
    if "via_id" in direct.column_names:
        direct = direct.filter(pc.is_null(direct["via_id"]))
    direct = direct.sort_by([("distance", "descending"), ("id", "ascending")])
    seen: set[str] = set()
    for line, row in _lines(outcome, direct.slice(0, 100 * PAIRS)):
        if line["kept_id"] not in seen and len(seen) < PAIRS:
            seen.add(line["kept_id"])
            other = _row(outcome, row, line)
            yield Pair(_kept(outcome, line["kept_id"]), other, line["distance"], line["similarity"])
