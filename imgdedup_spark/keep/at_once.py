"""Everything decided at once: of a run that is small enough, in one process, without Spark.

The same rules as ``match`` and ``keep.drop`` have, on packed arrays: rows in keep order, those of equal keys in groups,
hashes as words or embeddings as vectors, and the first-come rule among the groups.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.small import has_errors
from imgdedup_spark.keep.compared import Ints, keys_of, lanes_of, outcome_of, search_lane, whole_keys
from imgdedup_spark.keep.flats import with_stand_ins
from imgdedup_spark.keep.rank import RANK, sort_terms
from imgdedup_spark.kernels.barred import Exclusions, first_come_of_equals
from imgdedup_spark.kernels.hashes.view_names import VIEWS
from imgdedup_spark.match.decide import joined_plan
from imgdedup_spark.read.source import INPUT, ORDER


@dataclass(frozen=True)
class Earlier:
    """What was there before the run.

    Attributes:
        rows: ``rank``, ``id``, ``images``, ``flat``, ``texthash`` and the hashes or vectors.
        index_base: the rank from which on they are the index's.
    """

    rows: pa.Table
    index_base: int


@dataclass(frozen=True)
class AtOnce:
    """Every decision.

    Attributes:
        prints: one print a row, with ``id``, ``order`` and maybe ``input``.
        rows: ``order`` and ``rank`` of the rows that were compared, by rank.
        dropped: as ``keep.drop.dropped_rows`` has them, by rank; with ``view`` and ``kept_view`` where views were
            compared.
        plan: how near-duplicates were searched.
        highest: of embeddings, if asked for, ``order`` and ``max_similarity`` of the first row of each key.
        known: of a run after others, ``rank`` and ``id`` of the rows that were there before.
    """

    prints: pa.Table
    rows: pa.Table
    dropped: pa.Table
    plan: dict[str, Any]
    highest: pa.Table | None = None
    known: pa.Table | None = None


def decide_at_once(
    prints: pa.Table, kind: Prints, references: Earlier | None, excluded: Exclusions, *, among: bool = True
) -> AtOnce | None:
    """Decides about all rows; None if that takes longer than telling a cluster to do it, or ``--keep`` sorts by what
    Arrow cannot.

    Args:
        prints: have ``id``, ``order`` and maybe ``input``.
        excluded: what never matches.
        among: whether the rows are compared with each other by more than equal keys, too. If not, a row that equals a
            reference is not dropped for an earlier one that it is merely near.
    """
    started = time.perf_counter()
    rows = prints.filter(pa.array(~has_errors(prints) & _has_key(prints, kind)))
    try:
        rows = rows.take(pc.sort_indices(rows, options=_sorting(kind)))
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None
    known = None if references is None else _known(references.rows, kind, excluded)
    numbers = excluded.rows.of(rows.column(ORDER).to_numpy())
    rows = with_stand_ins(rows, numbers > 0, known, kind)
    keys = keys_of(rows, kind)
    codes = _codes(keys)
    group, first = _groups(codes, numbers)
    stand = _equal(keys.take(pa.array(first)), numbers[first], known, kind, excluded)
    distance, views = np.zeros(len(first)), np.zeros((len(first), 2), np.uint8)
    highest = np.full(len(first), np.nan)
    plan: dict[int, dict[str, Any]] = {}
    lanes = lanes_of(rows)[first]
    if kind.is_near():
        heads = rows.take(pa.array(first))
        open_ = lanes > 0 if among else (lanes > 0) & (stand >= 0)
        for images in np.unique(lanes[open_]).tolist():
            here = np.flatnonzero(open_ & (lanes == images))
            there = np.zeros(0, np.int64) if known is None else np.flatnonzero(lanes_of(known) == images)
            some = heads.take(pa.array(here))
            found = search_lane(some, numbers[first][here], known, there, kind, images, excluded, among)
            if found is None:
                return None
            # References are numbered downwards from -1.
            stand[here] = np.concatenate([-1 - there, here])[found.keeper[len(there) :]]
            distance[here] = found.distances[len(there) :]
            if found.views is not None:
                views[here] = found.views[len(there) :]
            if found.highest is not None:
                highest[here] = found.highest[len(there) :]
            plan[images] = found.plan
    dropped = _dropped(rows, kind, codes, group, first, stand, np.where(lanes > 0, distance, np.nan))
    if isinstance(kind, Hashes) and kind.config.view_names:
        dropped = _with_views(dropped, rows, group, views, kind)
    if references is not None and known is not None:
        dropped = _of_references(dropped, known, references.index_base)
    ranks = pa.array(np.arange(len(rows))) if kind.config.keep_terms else rows.column(ORDER)
    compared = pa.table({ORDER: rows.column(ORDER), RANK: ranks})
    plans = joined_plan(plan, round(time.perf_counter() - started, 3))
    decided = AtOnce(prints, compared, dropped, plans)
    if kind.config.emit_hashes and not isinstance(kind, Hashes):
        several = (lanes > 0) & (np.bincount(group, minlength=len(first)) > 1)
        decided = replace(decided, highest=_highest(rows.column(ORDER).take(pa.array(first)), several, highest))
    return decided if references is None else replace(decided, known=references.rows.select(["rank", "id"]))


def _known(rows: pa.Table, kind: Prints, excluded: Exclusions) -> pa.Table:
    """The references that have something to compare, by rank; of those with the same key and number the first."""
    rows = rows.filter(pa.array(_has_key(rows, kind))).sort_by("rank")
    numbers = excluded.references.of(rows.column("rank").to_numpy())
    return rows.take(pa.array(_groups(_codes(keys_of(rows, kind)), numbers)[1]))


def _equal(keys: pa.Array, numbers: Ints, known: pa.Table | None, kind: Prints, excluded: Exclusions) -> Ints:
    """Who stands for each group by equal keys alone: the reference -1 - i, or a group.

    Args:
        keys, numbers: of the groups, in keep order.
    """
    stand = np.arange(len(keys))
    others = pa.array([], keys.type) if known is None else keys_of(known, kind)
    found = pc.index_in(keys, value_set=others)
    stand = np.where(pc.is_valid(found).to_numpy(zero_copy_only=False), -1 - found.fill_null(0).to_numpy(), stand)
    shared = keys.filter(pa.array(numbers > 0))
    if not len(shared):
        return stand
    # The keys that rows with numbers share are walked through one by one.
    there = np.flatnonzero(pc.is_in(others, value_set=shared).to_numpy(zero_copy_only=False))
    here = np.flatnonzero(pc.is_in(keys, value_set=shared).to_numpy(zero_copy_only=False))
    walked = pa.concat_arrays([others.take(pa.array(there)), keys.take(pa.array(here))])
    ranks = np.zeros(0, np.int64) if known is None else known.column("rank").to_numpy()[there]
    numbered = np.concatenate([excluded.references.of(ranks), numbers[here]])
    keeper = first_come_of_equals(_codes(walked), numbered, len(there), excluded.barred)
    stand[here] = np.concatenate([-1 - there, here])[keeper[len(there) :]]
    return stand


def _has_key(prints: pa.Table, kind: Prints) -> np.ndarray:
    """As ``Prints.has_key``."""
    if kind.config.missing == "duplicates":
        return np.ones(len(prints), bool)
    some = pc.greater(prints.column("images"), 0)
    if kind.config.text_col:
        some = pc.or_(some, pc.is_valid(prints.column("texthash")))
    return some.to_numpy()


def _sorting(kind: Prints) -> pc.SortOptions:
    """By the terms of ``--keep``, then input order; Arrow puts what is null last unless told otherwise."""
    terms = sort_terms(kind.config)
    return pc.SortOptions(
        [*((name, "descending" if down else "ascending") for name, down in terms.items()), (ORDER, "ascending")]
    )


def _codes(keys: pa.Array) -> Ints:
    """A number for each key, in the order in which they first appear."""
    encoded = keys.dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.to_numpy().astype(np.int64)


def _groups(codes: Ints, numbers: Ints) -> tuple[Ints, Ints]:
    """The group of each row, numbered as they first appear, and each group's first row. Rows with numbers are in groups
    of their own."""
    group = _codes(pa.array(codes * (numbers.max() + 1) + numbers)) if numbers.any() else codes
    highest = np.maximum.accumulate(np.concatenate([[-1], group]))
    return group, np.flatnonzero(group > highest[:-1])


def _highest(orders: pa.ChunkedArray, several: np.ndarray, highest: np.ndarray) -> pa.Table:
    """``order`` and ``max_similarity``; the search knows nothing of the copies that a key stands for.

    Args:
        several: (n,) whether pictures have such copies.
    """
    best = np.where(several, 1.0, highest)
    return pa.table({ORDER: orders, "max_similarity": pa.array(best, mask=np.isnan(best))})


def _dropped(
    rows: pa.Table, kind: Prints, codes: Ints, group: Ints, first: Ints, stand: Ints, distance: np.ndarray
) -> pa.Table:
    """One row for each that goes; ``reference`` is a reference's number.

    Args:
        codes, group: of each row, the former the same for equal keys; ``first``, ``stand`` and ``distance`` (NaN
            where no picture was compared) are by group.
    """
    stands = stand[group]
    is_reference = stands < 0
    keeper = np.where(is_reference, -1, first[np.where(is_reference, 0, stands)] if len(first) else stands)
    gone = np.flatnonzero(keeper != np.arange(len(rows)))
    stands, is_reference, keeper = stands[gone], is_reference[gone], keeper[gone]
    same = ~is_reference & (codes[keeper] == codes[gone])
    orders = rows.column(ORDER).to_numpy()
    place = {INPUT: rows.column(INPUT).take(pa.array(gone))} if INPUT in rows.column_names else {}
    return pa.table(
        {
            ORDER: pa.array(orders[gone]),
            **place,
            "kept_order": pa.array(orders[keeper], mask=is_reference),
            "reference": pa.array(-1 - stands, mask=~is_reference),
            **outcome_of(kind, same, distance[group[gone]]),
        }
    )


def _with_views(dropped: pa.Table, rows: pa.Table, group: Ints, views: np.ndarray, kind: Hashes) -> pa.Table:
    """With the names of the views that matched; rows whose wholes are equal are so whatever their views.

    Args:
        rows: all that were compared, with their group each.
        views: (groups, 2) numbers.
    """
    orders = rows.column(ORDER)
    gone, kept = (pc.index_in(dropped.column(name), value_set=orders) for name in (ORDER, "kept_order"))
    keys = whole_keys(rows, kind)
    same = pc.equal(keys.take(gone), keys.take(kept))
    dropped = dropped.set_column(
        dropped.column_names.index("reason"), "reason", pc.if_else(same, "same_hash", "near_hash")
    )
    pairs = views[group[gone.to_numpy()]]
    for name, numbers in zip(("view", "kept_view"), pairs.T, strict=True):
        dropped = dropped.append_column(name, pa.array(np.array(VIEWS)[numbers], pa.string()))
    return dropped


def _of_references(dropped: pa.Table, known: pa.Table, index_base: int) -> pa.Table:
    """With ranks in the place of references' numbers, and the reason that they make."""
    ranks = known.column("rank").combine_chunks().take(dropped.column("reference").combine_chunks())
    beyond = pc.if_else(pc.less(ranks, index_base), "in_reference", "in_index")
    reason = pc.if_else(pc.is_valid(ranks), beyond, dropped.column("reason"))
    dropped = dropped.set_column(dropped.column_names.index("reference"), "reference", ranks)
    return dropped.set_column(dropped.column_names.index("reason"), "reason", reason)
