"""The compiled search: each query's earliest neighbour among the targets, through choices of up to k agreeing bands.

A level of the search holds the hashes that agree on so many bands, in runs; a run is cut by one band more where that
costs less than comparing it. Runs stay in keep order throughout (a counting sort is stable), so that the first match
of a run is its earliest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.hamming.bands import MOVE_NS, PAIR_NS, QUERY_NS
from imgdedup_spark.kernels.hamming.compare import Rows, Table, filter_words, first_passing, match
from imgdedup_spark.kernels.hamming.runs import Levels, cut_by_band, fill, level, make_levels

# Runs longer than this look up how early a neighbour must be to matter before they compare.
LONG_RUN = 256


class Groups(NamedTuple):
    """Rows in groups, ascending in each; group g is ``rows[ends[g] : ends[g + 1]]``."""

    rows: Rows
    ends: npt.NDArray[np.int64]


class Keys(NamedTuple):
    """What must agree before hashes are compared.

    Attributes:
        bands: ``(bands, 4)``: word, shift, whether it goes on in the next word, width in bits.
        k: how many of them must agree.
        prefix: the first bands of every key; others are not looked at.
        deepen: 1; larger values make keys longer than pays.
    """

    bands: npt.NDArray[np.int64]
    k: int
    prefix: npt.NDArray[np.int64]
    deepen: float


class _Search(NamedTuple):
    """One search.

    Attributes:
        same: whether targets and queries are the same hashes (and the same memory).
        best: each query's earliest neighbour so far.
        scratch: see ``cut_by_band``.
    """

    table: Table
    targets: Levels
    queries: Levels
    same: bool
    best: Rows
    scratch: npt.NDArray[np.uint16]


class _NextBands(NamedTuple):
    """The bands that runs could be cut by next: how many, from which one on, and their width in bits."""

    choices: int
    first: int
    width: int
    deepen: float


@compiled
def _next_bands(keys: Keys, depth: int, first: int) -> _NextBands:
    """What a key of ``depth`` bands can go on with, ``first`` being the one after its last."""
    if depth == keys.k:
        return _NextBands(0, 0, 0, keys.deepen)
    choices = keys.bands.shape[0] - keys.k + depth + 1 - first  # after the last of them, what the key lacks must follow
    if depth < keys.prefix.size:
        first, choices = keys.prefix[depth], 1
    return _NextBands(choices, first, keys.bands[first, 3], keys.deepen)


@compiled
def _worth_cutting(targets: int, queries: int, same: bool, following: _NextBands) -> bool:
    """Whether going through all of the next bands costs less than comparing the run as it is."""
    pairs = float(targets) * queries * (0.5 if same else 1.0)
    moved = targets if same else targets + queries
    compared = pairs * PAIR_NS / (1 << min(following.width, 20))
    cut = following.choices * (moved * MOVE_NS + queries * QUERY_NS + compared)
    return following.deepen * (pairs * PAIR_NS + queries * QUERY_NS) > cut


@compiled
def _earliest_from(rows: Rows, start: int, stop: int, row: int) -> int:
    """``np.searchsorted`` in a part of the rows, without a view of it: making one counts references."""
    while start < stop:
        middle = (start + stop) // 2
        if rows[middle] < row:
            start = middle + 1
        else:
            stop = middle
    return start


@compiled
def _compare_runs(search: _Search, depth: int, first: int, runs: int, following: _NextBands, near_bits: int) -> int:
    """Compares the queries of each run of a level with the targets of the same run, up to one that is worth cutting.

    Every query is compared with the targets before it, earliest first, up to its first match. All runs in one call,
    because taking arrays out of tuples counts references, and most runs are short.

    Args:
        first, runs: compares the runs ``first .. runs - 1``.
        near_bits: each run of targets also meets the runs of queries whose number differs in one of so many bits.

    Returns:
        The run to be cut, or ``runs`` if there is none.
    """
    words, spans, barred = search.table
    threshold = spans[0, 2]
    same, best = search.same, search.best
    target_codes, target_rows, target_ends = level(search.targets, depth)
    query_codes, query_rows, query_ends = level(search.queries, depth)
    for run in range(first, runs):
        t0, t1 = target_ends[run], target_ends[run + 1]
        if t0 == t1 or (same and t1 - t0 < 2):
            continue
        for near in range(near_bits + 1):
            other = run ^ ((1 << near) >> 1)  # the first one is the run itself
            q0, q1 = query_ends[other], query_ends[other + 1]
            if q0 == q1:
                continue
            if following.choices > 0 and _worth_cutting(t1 - t0, q1 - q0, same, following):
                return run
            end = t0
            # Often all targets come before all queries (an index, kept rows): then they need no counting one by one.
            if target_rows[t1 - 1] < query_rows[q0]:
                end = t1
            for j in range(q0, q1):
                row = query_rows[j]
                while end < t1 and target_rows[end] < row:
                    end += 1
                stop = end
                # Only what is earlier than the best so far can matter. In short runs looking that up (a cache miss)
                # costs more than comparing.
                if end - t0 > LONG_RUN and target_rows[end - 1] >= best[row]:
                    stop = _earliest_from(target_rows, t0, end, best[row])
                x = filter_words(query_codes, j)
                s = first_passing(target_codes, t0, stop, x, threshold)
                while s >= 0 and target_rows[s] < best[row]:
                    if match(words, spans, barred, target_rows[s], row):
                        best[row] = target_rows[s]
                        break
                    s = first_passing(target_codes, s + 1, stop, x, threshold)
    return runs


@compiled
def _cut(search: _Search, depth: int, run: int, band: npt.NDArray[np.int64]) -> int:
    """Cuts a run of targets and of queries by a band; the number of runs that it becomes."""
    hashes = search.targets.ends[depth, run + 1] - search.targets.ends[depth, run]
    # Few hashes need few buckets: clearing the counters must not cost more than the hashes do.
    bits = min(band[3], 4)
    while bits < band[3] and (1 << bits) < hashes:
        bits += 1
    outer, inner = level(search.targets, depth), level(search.targets, depth + 1)
    cut_by_band(search.table.words, outer, run, band, bits, inner, search.scratch)
    if not search.same:
        outer, inner = level(search.queries, depth), level(search.queries, depth + 1)
        cut_by_band(search.table.words, outer, run, band, bits, inner, search.scratch)
    return 1 << bits


@compiled
def _descend(search: _Search, keys: Keys) -> None:
    """Goes through the choices of up to k bands, depth first, from the one run of level 0."""
    # Of each level: the band that made its runs, the last one that will, the run to go on with, and how many there are.
    band, last, run, runs = np.zeros((4, keys.k + 1), dtype=np.int64)
    band[0] = last[0] = -1
    runs[0] = 1
    depth = 0
    while depth >= 0:
        following = _next_bands(keys, depth, band[depth] + 1)
        run[depth] = _compare_runs(search, depth, run[depth], runs[depth], following, 0)
        if run[depth] < runs[depth]:
            depth += 1
            band[depth], last[depth] = following.first, following.first + following.choices - 1
        elif band[depth] < last[depth]:
            band[depth] += 1
        else:
            depth -= 1
            if depth >= 0:
                run[depth] += 1
            continue
        runs[depth] = _cut(search, depth - 1, run[depth - 1], keys.bands[band[depth]])
        run[depth] = 0


@compiled
def search_groups(
    table: Table, targets: Groups, queries: Groups, same: bool, best: Rows, keys: Keys, words: int
) -> None:
    """Searches each group (the rows of one context bucket) by itself; ``words`` are the filter words."""
    target_ends, query_ends = targets.ends, queries.ends
    most_targets, most_queries = 0, 0
    for g in range(target_ends.size - 1):
        t, q = target_ends[g + 1] - target_ends[g], query_ends[g + 1] - query_ends[g]
        if t > 0 and q > 0:
            most_targets, most_queries = max(most_targets, t), max(most_queries, q)
    target_levels = make_levels(keys.k + 1, most_targets, words, keys.bands)
    query_levels = target_levels if same else make_levels(keys.k + 1, most_queries, words, keys.bands)
    scratch = np.empty(max(most_targets, most_queries), dtype=np.uint16)
    search = _Search(table, target_levels, query_levels, same, best, scratch)
    for g in range(target_ends.size - 1):
        t0, t1, q0, q1 = target_ends[g], target_ends[g + 1], query_ends[g], query_ends[g + 1]
        if t0 < t1 and q0 < q1:
            fill(target_levels, table, targets.rows[t0:t1])
            if not same:
                fill(query_levels, table, queries.rows[q0:q1])
            _descend(search, keys)


@compiled
def search_probing(
    table: Table, targets: Rows, queries: Rows, best: Rows, bands: npt.NDArray[np.int64], words: int
) -> None:
    """Searches by a ``ProbePlan``: every bucket of queries meets the targets' buckets at most one bit away."""
    target_levels = make_levels(2, targets.size, words, bands)
    query_levels = make_levels(2, queries.size, words, bands)
    scratch = np.empty(max(targets.size, queries.size), dtype=np.uint16)
    search = _Search(table, target_levels, query_levels, False, best, scratch)
    fill(target_levels, table, targets)
    fill(query_levels, table, queries)
    for b in range(bands.shape[0]):
        width = bands[b, 3]
        for levels in (target_levels, query_levels):
            cut_by_band(table.words, level(levels, 0), 0, bands[b], width, level(levels, 1), scratch)
        _compare_runs(search, 1, 0, 1 << width, _NextBands(0, 0, 0, 1.0), width)
