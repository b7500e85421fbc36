"""Near-duplicates among embeddings that one process holds: the way of ``by_cosine.first_come`` without Spark."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.kernels.barred import NOT_BARRED, Barred, Exclusions, Numbers
from imgdedup_spark.kernels.cosine.background import in_common
from imgdedup_spark.kernels.cosine.first_come import Decisions, Pairs, decide
from imgdedup_spark.kernels.cosine.prefilter import PREFILTER_FROM, SAMPLE, Prefilter, fit_prefilter
from imgdedup_spark.kernels.cosine.rows import FROM_START, NO_SEARCH, Matches, Rows
from imgdedup_spark.kernels.cosine.tiles import match
from imgdedup_spark.match.packed import Packed

log = logging.getLogger(__name__)
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
#: Some ten seconds on two cores; what takes more is shared out among tasks.
MOST_PAIRS = 5_000_000_000
#: Neighbours that are looked for before a row's others are asked for by another search.
_CAP = 8


def first_come_by_cosine(
    vectors: Floats,
    contexts: Ints,
    similarity: float,
    references: int,
    *,
    among: bool = True,
    want_max: bool = False,
    background: Floats | None = None,
    numbers: Ints | None = None,
    barred: Barred = NOT_BARRED,
) -> Packed | None:
    """Who stays, in keep order; None if that is too much work for one process.

    Args:
        vectors: (n, images, dims), those of a row's images, each of length 1; the references come first.
        contexts: (n,) that must be equal.
        similarity: the least cosine of a match.
        references: how many are kept once and for all; what is between them does not matter.
        among: whether the others are compared with each other, too.
        want_max: also find the highest cosine of each.
        background: (k, dims) of length 1, for score normalisation (``kernels.cosine.background``).
        numbers: (n,) as ``barred`` knows them; 0 for those in no pair.
        barred: pairs that never match.
    """
    pairs = _pairs(contexts, references) if among else (len(vectors) - references) * references
    if pairs > MOST_PAIRS:
        return None
    count, images, dims = vectors.shape
    common = np.zeros((count, images), np.float32)
    if background is not None:
        later = vectors[references:].reshape(-1, dims)
        common[references:] = in_common(later, background).reshape(-1, images)
    vectors = vectors.reshape(count, images * dims)
    if images > 1:
        vectors = (vectors * (1 / np.sqrt(images))).astype(np.float32)
    prefilter = Prefilter()
    if not want_max and pairs >= PREFILTER_FROM:
        prefilter = fit_prefilter(vectors[np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]], similarity)
    is_reference = np.arange(len(vectors)) < references
    rows = Rows(
        vectors,
        contexts,
        is_reference,
        np.where(is_reference, np.arange(len(vectors)), np.arange(len(vectors)) - references),
        np.where(is_reference, NO_SEARCH, FROM_START),
        common,
    )
    excluded = _excluded(numbers, references, barred)

    def search(queries: Rows, base: Rows) -> Matches:
        spare = excluded.most_references()
        return match(base, queries, similarity, prefilter=prefilter, cap=_CAP + spare, want_max=want_max, spare=spare)

    decisions, found = _decided(rows, search, excluded, among=among)
    keeper, distances = np.arange(len(vectors)), np.zeros(len(vectors))
    places = decisions.rank + references
    keeper[places] = np.where(decisions.is_reference, decisions.keeper, decisions.keeper + references)
    distances[places] = 1 - decisions.similarity
    highest = _highest(found[0], len(vectors), references) if want_max else None
    plan = {
        "path": "all_pairs",
        "items": len(vectors) - references,
        "references": references,
        "dimensions": vectors.shape[1],
        "all_pairs_comparisons": pairs,
        "recall": 1.0,
        "compared_dimensions": vectors.shape[1] if prefilter.basis is None else prefilter.basis.shape[1] + 1,
        "comparisons": sum(one.comparisons for one in found),
        "dropped": len(places),
        "rounds": len(found),
    }
    log.info("embeddings: %s", ", ".join(f"{key} {value}" for key, value in plan.items()))
    return Packed(keeper, distances, plan, highest=highest)


def _pairs(contexts: Ints, references: int) -> int:
    """How many there are between equal contexts, but for those of references."""
    numbers = np.unique(contexts, return_inverse=True)[1]
    size = int(numbers.max(initial=-1)) + 1
    known, own = (np.bincount(some, minlength=size) for some in (numbers[:references], numbers[references:]))
    return int((own * (own - 1) // 2 + own * known).sum())


def _excluded(numbers: Ints | None, references: int, barred: Barred) -> Exclusions:
    if numbers is None or not len(barred):
        return Exclusions()
    known, own = (
        Numbers(np.flatnonzero(some), some[some > 0]) for some in (numbers[:references], numbers[references:])
    )
    return Exclusions(barred, own, known)


def _decided(
    rows: Rows, search: Callable[[Rows, Rows], Matches], excluded: Exclusions, *, among: bool
) -> tuple[Decisions, list[Matches]]:
    """Searches and decides until every row is decided; what each search has found, too."""
    base = rows.take(np.arange(len(rows.rank)) if among else np.flatnonzero(rows.is_reference), sort=True)
    queries = base.queries() if among else rows.take(np.flatnonzero(~rows.is_reference), sort=True)
    found: list[Matches] = []
    asked: list[Ints] = []
    while True:
        found.append(search(queries, base))
        parts = [
            Pairs(one.query, one.base, one.is_reference, one.similarity, one.more, np.full(len(one.query), number))
            for number, one in enumerate(found, 1)
        ]
        pairs = Pairs(*(np.concatenate(column) for column in zip(*map(astuple, parts), strict=True)))
        searched = np.concatenate([np.zeros(0, np.int64), *asked])
        number = np.concatenate([np.zeros(0, np.int64), *(np.full(len(one), n) for n, one in enumerate(asked, 2))])
        decisions = decide(pairs, searched, number, excluded.of(pairs.query, pairs.base, pairs.is_reference))
        if not len(decisions.asks):
            return decisions, found
        # What was dropped keeps nobody from staying: the next search is among the others.
        asked.append(decisions.asks)
        cursor = np.full(len(base.rank), NO_SEARCH)
        at = np.searchsorted(decisions.asks, base.rank).clip(max=len(decisions.asks) - 1)
        asks = ~base.is_reference & (decisions.asks[at] == base.rank)
        cursor[asks] = decisions.cursor[at[asks]]
        left = np.flatnonzero(~base.is_reference & ~np.isin(base.rank, decisions.rank))
        base = base._replace(cursor=cursor).take(left, sort=True)
        queries = base.queries()


def _highest(found: Matches, count: int, references: int) -> npt.NDArray[np.float64]:
    """(count,) the highest cosine of each row with any other of its context; NaN where there is none."""
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, found.highest_rank + references, found.highest.astype(np.float64))
    # Single precision rounds the sixth decimal differently from tile to tile.
    rounded = pc.round(pa.array(highest), 5, round_mode="half_towards_infinity")  # as Spark rounds
    return np.where(np.isfinite(highest), rounded.to_numpy(), np.nan)
