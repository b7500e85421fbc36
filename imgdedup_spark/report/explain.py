"""Why a row went or stayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.config.sections import EMBEDDINGS
from imgdedup_spark.errors import UserError, printable
from imgdedup_spark.report.distances import Distances
from imgdedup_spark.report.outcome import Outcome

#: Rows of a group that a text lists.
_MOST_MEMBERS = 10


@dataclass(frozen=True)
class Neighbour:
    """Another row: its id, the distance to it (bits, or 1 − cosine), and what ``hashes/`` knows of it."""

    id: str
    distance: float
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Explanation:
    """What an output folder says of one row.

    Attributes:
        fate: ``kept``, ``dropped`` (as a duplicate) or ``dropped_on_error``.
        why: sentences.
        duplicate: the row's own line of ``duplicates/``, if it was dropped as one.
        keeper: what ``hashes/`` knows of the row it was dropped for.
        group: the rows dropped for the same keeper, or for this row; nearest first.
        nearest: rows that were not dropped, nearest first, but the row's own keeper.
    """

    id: str
    fate: str
    why: tuple[str, ...]
    facts: Mapping[str, Any]
    duplicate: Mapping[str, Any] | None
    keeper: Mapping[str, Any]
    group: tuple[Neighbour, ...]
    nearest: tuple[Neighbour, ...]

    def text(self) -> str:
        """The same as lines of text."""
        return "\n".join(printable(line) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.id}: {self.fate.replace('_', ' ')}{_shown(self.facts)}"
        yield from (f"  {sentence}" for sentence in self.why)
        if self.group:
            whose = "dropped for the same row" if self.duplicate else "dropped for it"
            yield f"  {len(self.group):,} {'rows' if len(self.group) > 1 else 'row'} {whose}:"
            yield from (f"    {_line(one)}" for one in self.group[:_MOST_MEMBERS])
            if len(self.group) > _MOST_MEMBERS:
                yield f"    … and {len(self.group) - _MOST_MEMBERS:,} more (duplicates/ has them)"
        if self.nearest:
            yield "  Nearest rows that were not dropped:"
            yield from (f"    {_line(one)}" for one in self.nearest)


def explain(outcome: Outcome, row_id: str, count: int = 5) -> Explanation:
    """Why a row went or stayed.

    Args:
        count: how many rows that were not dropped to name.

    Raises:
        UserError: no row has this id.
    """
    row = int(outcome.rows(pa.array([row_id], pa.string()))[0])
    if row < 0:
        like = f"; ids there look like {printable(outcome.ids[0].as_py())}" if len(outcome.ids) else ""
        raise UserError(f"{printable(row_id)}: no row has this id{like}")
    mine = outcome.duplicates.filter(pc.equal(outcome.duplicates["id"], row_id)).to_pylist()
    duplicate = mine[0] if mine else None
    errors = outcome.errors.filter(pc.equal(outcome.errors["id"], row_id)).to_pylist()
    failed = any(one["level"] == "error" for one in errors)
    on_error = failed and duplicate is None and outcome.config.get("on_error") == "drop"
    marked = outcome.marked.filter(pc.equal(outcome.marked["id"], row_id))["keeper"].combine_chunks()
    kept = marked if duplicate else pa.array([row_id])
    keeper = int(outcome.known_as(kept)[1][0])
    members = outcome.marked.filter(pc.equal(outcome.marked["keeper"], kept[0]))
    members = members.filter(pc.not_equal(members["id"], row_id))
    members = members.sort_by([("distance", "ascending"), ("id", "ascending")])
    near = Distances(outcome).nearest_to(row, count + 1)
    near = [one for one in near if not duplicate or one.other != keeper][:count]
    return Explanation(
        id=row_id,
        fate="dropped" if duplicate else "dropped_on_error" if on_error else "kept",
        why=tuple(_why(outcome, row, duplicate, errors)),
        facts=outcome.facts(row),
        duplicate=duplicate,
        keeper=outcome.facts(keeper) if duplicate else {},
        group=_neighbours(outcome, outcome.rows(members["id"].combine_chunks()), members["distance"].to_pylist()),
        nearest=_neighbours(outcome, [one.other for one in near], [one.distance for one in near]),
    )


def _neighbours(outcome: Outcome, rows: Iterable[int], distances: Iterable[float]) -> tuple[Neighbour, ...]:
    found = zip(map(int, rows), distances, strict=True)
    return tuple(Neighbour(outcome.ids[row].as_py(), distance, outcome.facts(row)) for row, distance in found)


_REASONS = {
    "same_hash": "its hash is the same as that of {kept_id}, which stays",
    "near_hash": "its hash is {distance} from that of {kept_id}, which stays{limit}",
    "near_embedding": "its embedding is {distance} from that of {kept_id}, which stays{limit}",
    "in_index": "{kept_id}, which the index knew before this run, is {distance} from it{limit}",
    "in_reference": "{kept_id}, in a data set that --against names, is {distance} from it{limit}",
}


def _why(
    outcome: Outcome, row: int, duplicate: Mapping[str, Any] | None, errors: list[dict[str, Any]]
) -> Iterator[str]:
    config = outcome.config
    if duplicate is not None:
        reason, told = duplicate["reason"], distance_text(duplicate["distance"], duplicate.get("similarity"))
        limit = f" (the limit is {_limit(outcome)})" if not config.get("stages") else ""
        yield _REASONS[reason].format(kept_id=duplicate["kept_id"], distance=told, limit=limit)
        if {duplicate.get("view"), duplicate.get("kept_view")} - {None, "whole"}:
            yield f"so near is its view `{duplicate['view']}` to `{duplicate['kept_view']}` of that one"
        if duplicate.get("via_id"):
            yield f"it was compared with {duplicate['via_id']}, for which {duplicate['kept_id']} stays in the end"
    for one in errors:
        what = "picture {position} cannot be read" if one["level"] == "error" else "picture {position} has a fault"
        yield f"{what.format(**one)}: {one['error']}: {one['message']}"
    if any(one["level"] == "error" for one in errors):
        what = "dropped" if config.get("on_error") == "drop" else "kept"
        yield f"a row with an unreadable picture belongs to no group, and --on-error says that it is {what}"
    elif duplicate is None:
        if outcome.flat[row]:
            yield "its picture is too flat for a hash: only flat pictures that show the same match it"
        hashes = [name for name in ("imagehash", "embedding") if name in outcome.hashes.column_names]
        if all(outcome.hashes.column(name)[row].as_py() is None for name in hashes):
            yield "it has no picture to compare"
        else:
            views = " in any of the views" if config.get("views") or config.get("invariant") else ""
            yield f"no row that stays and comes before it is within {_limit(outcome)}{views}"
    if outcome.step.get("background_set"):
        yield (
            "what duplicates have are cosines less what the later row has in common with the background set; of rows "
            "that were not dropped they are plain"
        )


def _limit(outcome: Outcome) -> str:
    step = outcome.step
    if outcome.config.get("stages"):
        return "the thresholds of the stages"
    if step.get("method") in EMBEDDINGS:
        less = ", less what it has in common with the background set" if step.get("background_set") else ""
        return f"a cosine of {step.get('similarity')}{less}"
    limits = [f"{step.get('threshold', 0)} bits", *(f"--verify {one}" for one in step.get("verify") or ())]
    return " and ".join(limits)


def distance_text(distance: float, similarity: float | None = None) -> str:
    """``5 bits``, ``1 bit`` or ``cosine 0.93``."""
    if similarity is not None or distance != int(distance):
        return f"cosine {1 - distance if similarity is None else similarity:.3f}"
    return f"{int(distance)} bit" + ("s" if distance != 1 else "")


def _line(one: Neighbour) -> str:
    return f"{one.id}: {distance_text(one.distance)}{_shown(one.facts)}"


def _shown(facts: Mapping[str, Any]) -> str:
    if not facts.get("width"):
        return ""
    return f" ({facts['width']}×{facts['height']}, {facts['bytes']:,} bytes)"
