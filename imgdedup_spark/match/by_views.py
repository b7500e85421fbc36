"""Near-duplicates among rows of which several views may match, in one process: as ``packed``, entry by entry."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.barred import NOT_BARRED, Barred
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.hamming.several import Several, closest, first_come_of_several
from imgdedup_spark.kernels.hashes.view_names import CROPS
from imgdedup_spark.match.by_hash.plan import SAMPLE_HASHES, NearOptions, make_matcher
from imgdedup_spark.match.packed import MOST_SECONDS, Packed

log = logging.getLogger(__name__)
#: Views of all rows together, wholes among them: some 300 bytes each while they are compared.
MOST_VIEWS = 8_000_000
_DEFAULTS = NearOptions()


@dataclass(frozen=True)
class Views:
    """Views besides the wholes.

    Attributes:
        rows: (m,) whose they are, ascending.
        numbers: (m,) of ``view_names.VIEWS``, ascending in each row.
        codes: (m, code bytes).
    """

    rows: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.uint8]


def first_come_by_views(
    codes: npt.NDArray[np.uint8],
    views: Views,
    contexts: npt.NDArray[np.uint8] | None,
    parts: Sequence[Part],
    *,
    references: int = 0,
    among: bool = True,
    numbers: npt.NDArray[np.int64] | None = None,
    barred: Barred = NOT_BARRED,
) -> Packed:
    """Who stays, in keep order: a row goes if one of its views is near the whole or a crop of one that stays.

    Turned views of the earlier row are not looked at: a picture turned is near another as that one, turned back, is
    near it.

    Args:
        codes: (n, code bytes) of the wholes.
        contexts: (n, CONTEXT_BYTES) that must be equal, if anything must.
        references, among: as ``packed.first_come`` has them.
        numbers: (n,) as ``barred`` knows them; 0 for those in no pair.
        barred: pairs that never match.

    Raises:
        UserError: they are more than one process holds.
    """
    count = len(codes)
    if count + len(views.rows) > MOST_VIEWS:
        raise UserError(
            f"--views: these {count:,} rows have {count + len(views.rows):,} views, and up to {MOST_VIEWS:,} can be "
            "compared: ask for fewer kinds, or say --views whole, and no --invariant, to compare whole pictures alone"
        )
    rows = np.concatenate([np.arange(count), views.rows])
    order = np.argsort(rows, kind="stable")
    rows, kinds = rows[order], np.concatenate([np.zeros(count, np.uint8), views.numbers])[order]
    every = np.concatenate([codes, views.codes])[order]
    if not count:
        return Packed(np.zeros(0, np.int64), np.zeros(0, np.int32), {}, np.zeros((0, 2), np.uint8))
    starts = np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)
    known = int(starts[references])
    own = every[known:] if references < count else every
    sample = own[:: max(1, len(own) // SAMPLE_HASHES)][:SAMPLE_HASHES]
    matcher = make_matcher(sample, parts, contexts is not None, len(own), known, _DEFAULTS, barred)
    seconds = matcher.plan.search_seconds(len(every))
    if seconds > MOST_SECONDS:
        log.info("%s views are compared on one core: some %.0f minutes", f"{len(every):,}", seconds / 60)
    table = matcher.pack(
        every, None if contexts is None else contexts[rows], None if numbers is None else numbers[rows]
    )
    several = Several(table, starts, kinds <= len(CROPS))
    keeper = first_come_of_several(matcher, several, references=references, among=among)
    found = np.zeros((count, 3), np.int32)
    gone = np.flatnonzero(keeper != np.arange(count)).astype(keeper.dtype)
    found[gone] = closest(matcher, several, gone, keeper[gone])
    pair = np.zeros((count, 2), np.uint8)
    pair[gone] = kinds[found[gone, :2]]
    plan = {**matcher.plan.summary(), "hashes": count - references, "views": len(every), "references": references}
    plan |= {"path": "at once", "rounds": 1}
    log.info("near-duplicates by views: %s", ", ".join(f"{key} {value}" for key, value in plan.items()))
    return Packed(keeper.astype(np.int64), found[:, 2], plan, pair)
