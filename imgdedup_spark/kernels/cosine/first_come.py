"""The first-come rule on lists of earliest neighbours: who is dropped, by whom, and whose list was too short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imgdedup_spark.kernels.cosine.rows import NO_SEARCH, Bool, Float64, Int64, compiled

_KEPT, _DROPPED, _ASKS, _WAITS = 0, 1, 2, 3


@dataclass(frozen=True)
class Pairs:
    """Matching pairs, in any order; a pair may occur several times.

    Attributes:
        query, base: (m,) int64 ranks of the later and the earlier row.
        is_reference: (m,) bool; ``base`` is a reference (which is always kept), else an item.
        similarity: (m,) float64.
        more: (m,) bool; a search of this query stopped at this pair, and later ones of that search are missing.
        search: (m,) int64; the number of the search. A query's second search starts where the first became unsure.
    """

    query: Int64
    base: Int64
    is_reference: Bool
    similarity: Float64
    more: Bool
    search: Int64


@dataclass(frozen=True)
class Decisions:
    """Attributes:
    rank: (k,) int64 ranks of the dropped items.
    keeper, is_reference, similarity: (k,) the earliest kept row (or reference) that each of them matches.
    asks: (r,) int64 ranks of items whose known neighbours are all dropped, and which may have later ones.
    cursor: (r,) int64; they know all their neighbours up to this rank.
    waiting: how many more are undecided, because their earliest undropped neighbour is.
    """

    rank: Int64
    keeper: Int64
    is_reference: Bool
    similarity: Float64
    asks: Int64
    cursor: Int64
    waiting: int


def decide(pairs: Pairs, searched: Int64, search: Int64, barred: Bool | None = None) -> Decisions:
    """Applies the first-come rule as far as the pairs allow. Items that occur as no pair's query are kept.

    Args:
        pairs: all pairs of all searches.
        searched, search: (s,) the items that were searched again, and the number of that search.
        barred: (m,) pairs that do not count as matching.
    """
    order = np.lexsort((pairs.base, ~pairs.is_reference, pairs.query))
    query, base = pairs.query[order], pairs.base[order]
    is_reference, similarity = pairs.is_reference[order], pairs.similarity[order]
    passed = np.zeros(len(query), np.bool_) if barred is None else barred[order]

    ranks, start = np.unique(query, return_index=True)
    stop = np.append(start[1:], len(query))
    known = _known_up_to(pairs, ranks, searched, search)
    place = np.searchsorted(ranks, base)
    found = np.minimum(place, max(len(ranks) - 1, 0))
    # An item that is nobody's later one has no earlier neighbour: it is kept.
    first = np.where(is_reference | (ranks[found] != base if len(ranks) else True), -1, found)
    state, keeper = _first_come(start, stop, base, is_reference, first, known, passed)

    dropped = np.flatnonzero(state == _DROPPED)
    asks = np.flatnonzero(state == _ASKS)
    pair = keeper[dropped]
    return Decisions(
        ranks[dropped],
        base[pair],
        is_reference[pair],
        similarity[pair],
        ranks[asks],
        known[asks],
        int(np.count_nonzero(state == _WAITS)),
    )


def _known_up_to(pairs: Pairs, ranks: Int64, searched: Int64, search: Int64) -> Int64:
    """(len(ranks),) int64: the rank up to which each query's neighbours are known; NO_SEARCH where all are."""
    last = np.ones(len(ranks), np.int64)
    again = np.searchsorted(ranks, searched)
    np.maximum.at(last, again, search)
    known = np.full(len(ranks), NO_SEARCH, np.int64)
    cut = np.flatnonzero(pairs.more)
    row = np.searchsorted(ranks, pairs.query[cut])
    current = pairs.search[cut] == last[row]
    np.minimum.at(known, row[current], pairs.base[cut][current])
    return known


@compiled
def _first_come(
    start: Int64, stop: Int64, base: Int64, is_reference: Bool, first: Int64, known: Int64, passed: Bool
) -> tuple[Int64, Int64]:
    """Goes through the queries by rank. ``first``: a base's place among the queries, or -1 for a kept one. Pairs that
    are ``passed`` over do not match."""
    state = np.zeros(len(start), np.int64)
    keeper = np.zeros(len(start), np.int64)
    for q in range(len(start)):
        state[q] = _KEPT if known[q] == NO_SEARCH else _ASKS
        for i in range(start[q], stop[q]):
            if not is_reference[i] and base[i] > known[q]:
                break
            if passed[i]:
                continue
            other = _KEPT if first[i] < 0 else state[first[i]]
            if other == _DROPPED:
                continue
            keeper[q] = i
            state[q] = _DROPPED if other == _KEPT else _WAITS
            break
    return state, keeper
