"""Near-duplicates among hashes that one process holds: the way of ``by_hash.first_come`` without Spark."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.barred import NOT_BARRED, Barred
from imgdedup_spark.kernels.hamming.few import are_few, first_come_of_few, words_of
from imgdedup_spark.kernels.hamming.parts import Part

if TYPE_CHECKING:
    from imgdedup_spark.match.by_hash.plan import NearOptions

log = logging.getLogger(__name__)
#: What takes longer on one core by its plan is shared out among tasks.
MOST_SECONDS = 60.0


@dataclass(frozen=True)
class Packed:
    """Attributes:
    keeper: (n,) row number of who stands for each, its own if it is kept.
    distances: (n,) to it: bits, or what its cosine is short of 1.
    views: (n, 2) numbers of the views that are so near, its own and the keeper's; None where wholes are compared.
    highest: (n,) float64, of embeddings the highest cosine with any other, if asked for; NaN without any.
    """

    keeper: npt.NDArray[np.int64]
    distances: npt.NDArray[Any]
    plan: dict[str, Any]
    views: npt.NDArray[np.uint8] | None = None
    highest: npt.NDArray[np.float64] | None = None


def first_come(
    codes: npt.NDArray[np.uint8],
    contexts: npt.NDArray[np.uint8] | None,
    parts: Sequence[Part],
    references: int,
    options: NearOptions | None = None,
    *,
    among: bool = True,
    numbers: npt.NDArray[np.int64] | None = None,
    barred: Barred = NOT_BARRED,
) -> Packed | None:
    """Who stays, in keep order; None if that is too much work for one core.

    What is compiled is imported where there is enough to do for it.

    Args:
        codes: (n, code bytes), distinct with their contexts and numbers; the references come first.
        contexts: (n, CONTEXT_BYTES) that must be equal, if anything must.
        references: how many are kept once and for all; what is between them does not matter.
        options: of the search, in which few rows have none.
        among: whether the others are compared with each other, too.
        numbers: (n,) as ``barred`` knows them; 0 for those in no pair.
        barred: pairs that never match.
    """
    count = len(codes) - references
    if not count:
        return Packed(np.arange(len(codes)), np.zeros(len(codes), np.int32), {})
    words = words_of(parts, contexts=contexts is not None)
    if options is None and not len(barred) and are_few(count, references, words):
        keeper, distances = first_come_of_few(codes, contexts, parts, references, among=among)
        pairs = count * references + (count * (count - 1) // 2 if among else 0)
        plan = {"k": 0, "bands": 0, "keys": 0, "comparisons": pairs}
        return Packed(keeper, distances, _told(plan, count, references))
    from imgdedup_spark.kernels.hamming.first_come import first_come_rule
    from imgdedup_spark.kernels.hamming.table import earliest_neighbours
    from imgdedup_spark.match.by_hash.plan import SAMPLE_HASHES, NearOptions, make_matcher

    own = codes[references:]
    sample = own[:: max(1, count // SAMPLE_HASHES)][:SAMPLE_HASHES]
    rows = np.arange(len(codes), dtype=np.int32)
    options = options or NearOptions()
    matcher = make_matcher(sample, parts, contexts is not None, count, references, options, barred)
    seconds = matcher.plan.search_seconds(count) if among else 0.0
    if references:
        seconds += matcher.plan.lookup_seconds(references, count)
    if seconds > MOST_SECONDS:
        return None
    table = matcher.pack(codes, contexts, numbers)
    keeper = rows.astype(np.int64)
    open_ = rows[references:]
    if references:
        best = rows.copy()
        best[references:] = references
        matcher.search(table, rows[:references], open_, best)
        gone = best[references:] < references
        keeper[open_[gone]] = best[open_[gone]]
        open_ = open_[~gone]
    if among and len(open_):
        here = table[open_]
        keeper[open_] = open_[first_come_rule(matcher, here, earliest_neighbours(matcher, here))[0]]
    plan = _told(matcher.plan.summary(), count, references)
    return Packed(keeper, matcher.distances(table, rows, keeper.astype(np.int32)), plan)


def _told(plan: dict[str, Any], count: int, references: int) -> dict[str, Any]:
    """The plan as the log and ``summary.json`` have it, logged."""
    plan = {**plan, "hashes": count, "references": references, "path": "at once", "rounds": 1}
    log.info("near-duplicates: %s", ", ".join(f"{key} {value}" for key, value in plan.items()))
    return plan
