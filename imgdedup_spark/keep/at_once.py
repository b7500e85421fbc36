"""Everything decided at once: of a run that is small enough, in one process, without Spark.

The same rules as ``match`` and ``keep.drop`` have, on packed arrays: rows in keep order, those of equal keys in groups,
hashes as words, and the first-come rule among the groups.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.hash.small import has_errors
from imgdedup_spark.keep.rank import RANK, sort_terms
from imgdedup_spark.kernels.hamming.pack import codes_of, texts_of
from imgdedup_spark.kernels.hashes.view_codes import VIEWS, taken_apart
from imgdedup_spark.match.by_views import Views, first_come_by_views
from imgdedup_spark.match.decide import joined_plan
from imgdedup_spark.match.packed import Packed, first_come
from imgdedup_spark.read.source import INPUT, ORDER

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Earlier:
    """What was there before the run.

    Attributes:
        rows: ``rank``, ``images``, ``flat``, ``texthash`` and the hashes.
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
    """

    prints: pa.Table
    rows: pa.Table
    dropped: pa.Table
    plan: dict[str, Any]


def decide_at_once(prints: pa.Table, kind: Hashes, references: Earlier | None) -> AtOnce | None:
    """Decides about all rows; None if that takes longer than telling a cluster to do it, or ``--keep`` sorts by what
    Arrow cannot.

    Args:
        prints: have ``id``, ``order`` and maybe ``input``.
        references: none of a run that compares views.
    """
    started = time.perf_counter()
    rows = prints.filter(pa.array(~has_errors(prints) & _has_key(prints, kind)))
    try:
        rows = rows.take(pc.sort_indices(rows, options=_sorting(kind)))
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None
    group, first = _groups(_keys(rows, kind))
    known = None if references is None else _known(references.rows, kind)
    stand = _equal(rows, first, known, kind)
    distance, views = np.zeros(len(first)), np.zeros((len(first), 2), np.uint8)
    plan: dict[int, dict[str, Any]] = {}
    if kind.is_near():
        heads = rows.take(pa.array(first))
        lanes = _lanes(heads)
        for images in np.unique(lanes[lanes > 0]).tolist():
            here = np.flatnonzero(lanes == images)
            there = np.zeros(0, np.int64) if known is None else np.flatnonzero(_lanes(known) == images)
            found = _search(heads.take(pa.array(here)), known, there, kind, images)
            if found is None:
                return None
            # References are numbered downwards from -1.
            stand[here] = np.concatenate([-1 - there, here])[found.keeper[len(there) :]]
            distance[here] = found.distances[len(there) :]
            if found.views is not None:
                views[here] = found.views
            plan[images] = found.plan
    dropped = _dropped(rows, group, first, stand, distance)
    if kind.config.view_names:
        dropped = _with_views(dropped, rows, group, views, kind)
    if references is not None and known is not None:
        dropped = _of_references(dropped, known, references.index_base)
    ranks = pa.array(np.arange(len(rows))) if kind.config.keep_terms else rows.column(ORDER)
    compared = pa.table({ORDER: rows.column(ORDER), RANK: ranks})
    return AtOnce(prints, compared, dropped, joined_plan(plan, round(time.perf_counter() - started, 3)))


def _known(rows: pa.Table, kind: Hashes) -> pa.Table:
    """The references that have something to compare, by rank; of those with the same key the first."""
    rows = rows.filter(pa.array(_has_key(rows, kind))).sort_by("rank")
    return rows.take(pa.array(_groups(_keys(rows, kind))[1]))


def _equal(rows: pa.Table, first: Ints, known: pa.Table | None, kind: Hashes) -> Ints:
    """Who stands for each group by equal keys alone: the reference -1 - i, or the group itself."""
    stand = np.arange(len(first))
    if known is None:
        return stand
    found = pc.index_in(_keys(rows.take(pa.array(first)), kind), value_set=_keys(known, kind))
    return np.where(pc.is_valid(found).to_numpy(zero_copy_only=False), -1 - found.fill_null(0).to_numpy(), stand)


def _has_key(prints: pa.Table, kind: Hashes) -> np.ndarray:
    """As ``Prints.has_key``."""
    if kind.config.missing == "duplicates":
        return np.ones(len(prints), bool)
    some = pc.greater(prints.column("images"), 0)
    if kind.config.text_col:
        some = pc.or_(some, pc.is_valid(prints.column("texthash")))
    return some.to_numpy()


def _sorting(kind: Hashes) -> pc.SortOptions:
    """By the terms of ``--keep``, then input order; Arrow puts what is null last unless told otherwise."""
    terms = sort_terms(kind.config)
    return pc.SortOptions(
        [*((name, "descending" if down else "ascending") for name, down in terms.items()), (ORDER, "ascending")]
    )


def _keys(rows: pa.Table, kind: Hashes) -> pa.Array:
    """What of a row must be equal: flat pictures' own hash, or the hashes and those of its views; and the text."""
    key = _whole_keys(rows, kind)
    if kind.config.view_names:
        key = pc.binary_join_element_wise(key.cast(pa.binary()), pc.binary_join(rows.column("views"), b""), b" ")
    return key.combine_chunks() if isinstance(key, pa.ChunkedArray) else key


def _whole_keys(rows: pa.Table, kind: Hashes) -> pa.Array | pa.ChunkedArray:
    hashes = pc.binary_join_element_wise(*[pc.fill_null(rows.column(name), "") for name in kind.columns], "/")
    flat = pc.binary_join_element_wise("flat", rows.column("flat"), " ")
    key = pc.if_else(pc.is_valid(flat), flat, hashes)
    if kind.config.text_col:
        text = pc.fill_null(rows.column("texthash"), "-")
        key = pc.binary_join_element_wise(key, text, " ")
    return key


def _groups(keys: pa.Array) -> tuple[Ints, Ints]:
    """The group of each row, numbered as they first appear, and each group's first row."""
    encoded = keys.dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    group = encoded.indices.to_numpy().astype(np.int64)
    highest = np.maximum.accumulate(np.concatenate([[-1], group]))
    return group, np.flatnonzero(group > highest[:-1])


def _lanes(rows: pa.Table) -> Ints:
    """How many images, negative where flat ones are among them (``prints.lane``)."""
    images = rows.column("images").to_numpy().astype(np.int64)
    return np.where(pc.is_valid(rows.column("flat")).to_numpy(), -images, images)


def _search(rows: pa.Table, known: pa.Table | None, there: Ints, kind: Hashes, images: int) -> Packed | None:
    """First come among distinct keys with so many images each, after references.

    Args:
        there: which of ``known`` have as many.
    """
    columns = [*kind.columns, "texthash", *(["views"] if kind.config.view_names else [])]
    rows = rows.select(columns)
    if known is not None:
        earlier = known.take(pa.array(there)).select(columns)
        rows = pa.concat_tables([earlier, rows], promote_options="permissive").combine_chunks()
    hashes = [rows.column(name).combine_chunks() for name in kind.columns]
    codes = codes_of(hashes, [digits for digits in kind.digits() if digits is not None], images)
    contexts = texts_of(rows.column("texthash").combine_chunks()) if kind.config.text_col else None
    if kind.config.view_names:
        views = Views(*taken_apart(rows.column("views").combine_chunks(), codes.shape[1]))
        return first_come_by_views(codes, views, contexts, kind.parts(images))
    return first_come(codes, contexts, kind.parts(images), len(there))


def _dropped(rows: pa.Table, group: Ints, first: Ints, stand: Ints, distance: np.ndarray) -> pa.Table:
    """One row for each that goes; ``reference`` is a reference's number.

    Args:
        group: of each row; ``first``, ``stand`` and ``distance`` are by group.
    """
    stands = stand[group]
    is_reference = stands < 0
    keeper = np.where(is_reference, -1, first[np.where(is_reference, 0, stands)] if len(first) else stands)
    gone = np.flatnonzero(keeper != np.arange(len(rows)))
    stands, is_reference, keeper = stands[gone], is_reference[gone], keeper[gone]
    same = stands == group[gone]
    orders = rows.column(ORDER).to_numpy()
    place = {INPUT: rows.column(INPUT).take(pa.array(gone))} if INPUT in rows.column_names else {}
    return pa.table(
        {
            ORDER: pa.array(orders[gone]),
            **place,
            "kept_order": pa.array(orders[keeper], mask=is_reference),
            "reference": pa.array(-1 - stands, mask=~is_reference),
            "distance": pa.array(np.where(same, 0.0, distance[group[gone]])),
            "similarity": pa.nulls(len(gone), pa.float64()),
            "reason": pc.if_else(pa.array(same), "same_hash", "near_hash"),
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
    keys = _whole_keys(rows, kind)
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
