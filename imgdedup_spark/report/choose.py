"""What a report shows: a few groups and pairs, the doubtful ones first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.config.sections import EMBEDDINGS
from imgdedup_spark.report.distances import Closest, Distances
from imgdedup_spark.report.explain import distance_text
from imgdedup_spark.report.outcome import Outcome

#: What is shown of each kind: as much as one looks through. Some 350 thumbnails together, 3 MB.
PAIRS, FLAT, GROUPS, SUSPICIOUS, MEMBERS = 12, 4, 12, 8, 12
#: Groups that are looked at for doubts, largest first; and members compared with each other.
_LOOKED_AT, _COMPARED = 1000, 64
# So many copies of one picture are seldom meant: a placeholder, a logo, an advertisement.
_LARGE, _LARGE_SHARE = 50, 0.01
_ROUNDING = 1e-4  # of cosines


@dataclass(frozen=True)
class Row:
    """A row to show.

    Attributes:
        number: of the row in ``Outcome.hashes``; -1 if it is in an index or another data set.
        facts: what ``hashes/`` knows of it (``Outcome.facts``).
        distance: to its keeper; None for one that stays.
    """

    id: str
    number: int
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
        flat: the same among pictures that are too flat for a hash, as far as they are within the threshold.
        closest: what ``beyond`` was chosen from.
    """

    suspicious: tuple[Group, ...]
    groups: tuple[Group, ...]
    worst: tuple[Pair, ...]
    beyond: tuple[Pair, ...]
    flat: tuple[Pair, ...]
    closest: Closest

    @property
    def ids(self) -> list[str]:
        """Of all rows of the run that are shown, most important first."""
        pairs = [one for pair in (*self.worst, *self.beyond, *self.flat) for one in (pair.kept, pair.other)]
        groups = (*self.suspicious, *self.groups)
        rows = [*pairs, *(one for group in groups for one in (group.kept, *group.members))]
        return list(dict.fromkeys(one.id for one in rows if one.number >= 0))


def choose(outcome: Outcome) -> Chosen:
    """Chooses what a report shows of an outcome."""
    counts = pc.value_counts(outcome.marked["keeper"].combine_chunks().drop_null())
    kept, sizes = counts.field("values"), np.asarray(counts.field("counts")) + 1
    largest = np.argsort(-sizes, kind="stable")[:_LOOKED_AT]
    few = kept.take(pa.array(largest))
    members, distances = _members(outcome, few), Distances(outcome)
    groups = [
        _group(outcome, distances, one, members.get(keeper, []), int(size))
        for keeper, one, size in zip(few.to_pylist(), _rows(outcome, few), sizes[largest], strict=True)
    ]
    doubtful = sorted((one for one in groups if one.doubts), key=lambda one: (-len(one.doubts), -one.size))
    found = distances.closest_pairs(PAIRS, ~outcome.flat)
    flat = [one for one in distances.closest_pairs(FLAT, outcome.flat).pairs if one.distance <= _limit(outcome)]
    beyond, too_flat = (
        tuple(Pair(_kept(outcome, one.row), _kept(outcome, one.other), one.distance) for one in some)
        for some in (found.pairs, flat)
    )
    return Chosen(tuple(doubtful[:SUSPICIOUS]), tuple(groups[:GROUPS]), tuple(_worst(outcome)), beyond, too_flat, found)


def _limit(outcome: Outcome) -> float:
    """The largest distance of duplicates: bits, or 1 − cosine."""
    if outcome.step.get("method") in EMBEDDINGS:
        return 1 - float(outcome.step["similarity"])
    return outcome.step.get("threshold") or 0


def _kept(outcome: Outcome, number: int) -> Row:
    return Row(outcome.ids[number].as_py(), number, outcome.facts(number))


def _rows(outcome: Outcome, keepers: pa.Array) -> list[Row]:
    ids, numbers = outcome.known_as(keepers)
    found = zip(ids.to_pylist(), numbers.tolist(), strict=True)
    return [Row(one, number, outcome.facts(number)) for one, number in found]


def _dropped(outcome: Outcome, number: int, line: Mapping[str, Any]) -> Row:
    return Row(line["id"], number, outcome.facts(number), line["distance"], line["similarity"])


def _lines(outcome: Outcome, table: pa.Table) -> Iterator[tuple[dict[str, Any], int]]:
    """Lines of ``Outcome.marked`` and their rows of ``hashes``."""
    return zip(table.to_pylist(), outcome.rows(table["id"].combine_chunks()).tolist(), strict=True)


def _members(outcome: Outcome, kept: pa.Array) -> dict[str, list[Row]]:
    """The rows dropped for each of these, farthest first, as many as are looked at."""
    few = outcome.marked.filter(pc.is_in(outcome.marked["keeper"], kept))
    few = few.sort_by([("distance", "descending"), ("id", "ascending")])
    # In a group of millions only the first count.
    codes = np.asarray(few["keeper"].combine_chunks().dictionary_encode().indices)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    few = few.take(pa.array(np.sort(order[np.arange(len(order)) - starts < _COMPARED])))
    found: dict[str, list[Row]] = {}
    for line, row in _lines(outcome, few):
        found.setdefault(line["keeper"], []).append(_dropped(outcome, row, line))
    return found


def _group(outcome: Outcome, distances: Distances, kept: Row, members: list[Row], size: int) -> Group:
    doubts = []
    if size > max(_LARGE, _LARGE_SHARE * len(outcome.ids)):
        doubts.append("very large")
    are_flat = any(outcome.flat[one.number] for one in (kept, *members) if one.number >= 0)
    if are_flat:  # whose hashes say nothing
        doubts.append("flat pictures")
    limit = _limit(outcome)
    # With a background set a limit of one row is none of another.
    comparable = not (outcome.config.get("stages") or outcome.step.get("background_set"))
    if limit and len(members) > 1 and not are_flat and comparable:
        widest = distances.spread(np.array([one.number for one in members]))
        if widest > limit + _ROUNDING:
            doubts.append(f"members up to {distance_text(widest)} from each other")
    return Group(kept, tuple(members[:MEMBERS]), size, tuple(doubts))


def _worst(outcome: Outcome) -> Iterator[Pair]:
    """One pair of a group at most: twelve lines of one group say what one says."""
    direct = outcome.marked.filter(pc.greater(outcome.marked["distance"], 0))
    if "via_id" in direct.column_names:
        direct = direct.filter(pc.is_null(direct["via_id"]))
    direct = direct.sort_by([("distance", "descending"), ("id", "ascending")])
    lines: dict[str, tuple[dict[str, Any], int]] = {}
    for line, row in _lines(outcome, direct.slice(0, 100 * PAIRS)):
        if len(lines) < PAIRS:
            lines.setdefault(line["keeper"], (line, row))
    for kept, (line, row) in zip(_rows(outcome, pa.array(list(lines), pa.string())), lines.values(), strict=True):
        yield Pair(kept, _dropped(outcome, row, line), line["distance"], line["similarity"])
