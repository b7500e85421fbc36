"""The compiled search: each query's earliest neighbour among the targets, through choices of up to k agreeing bands.

A level of the search holds the hashes that agree on so many bands, in runs; a run is cut by one band more where that
costs less than comparing it. Runs stay in keep order throughout (a counting sort is stable), so that the first match
of a run is its earliest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hamming.bands import MOVE_NS, PAIR_NS, QUERY_NS, Words
from imgdedup_spark.kernels.hamming.compare import LANES, Rows, compiled
from imgdedup_spark.kernels.hamming.runs import compare_run, load_codes, partition


@compiled
def _worth_splitting(targets: int, queries: int, same: bool, children: int, width: int, deepen: float) -> bool:
    """Whether another band costs less than comparing the run as it is."""
    pairs = float(targets) * queries * (0.5 if same else 1.0)
    moved = targets if same else targets + queries
    split = children * (moved * MOVE_NS + queries * QUERY_NS + pairs * PAIR_NS / (1 << min(width, 20)))
    return deepen * (pairs * PAIR_NS + queries * QUERY_NS) > split


@compiled
def _search_run(
    table: Words,
    target_codes: Words,
    target_rows: Rows,
    targets: int,
    query_codes: Words,
    query_rows: Rows,
    queries: int,
    same: bool,
    best: Rows,
    spans: npt.NDArray[np.int64],
    bands: npt.NDArray[np.int64],
    k: int,
    prefix: npt.NDArray[np.int64],
    deepen: float,
    target_ends: npt.NDArray[np.int64],
    query_ends: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint16],
) -> None:
    """Descends through the choices of up to k bands; level d of the buffers holds the runs that agree on d bands.

    ``target_codes`` is ``(k + 1, words, targets)`` with level 0 filled, and so on.
    """
    count = bands.shape[0]
    if k == 0 or not _worth_splitting(targets, queries, same, 1 if prefix.size else count - k + 1, bands[0, 3], deepen):
        compare_run(
            table, target_codes[0], target_rows[0], 0, targets, query_codes[0], query_rows[0], 0, queries, best, spans
        )
        return
    # At each depth: the band chosen, the bucket looked at, the run it was cut from.
    band = np.zeros(k + 1, dtype=np.int64)
    bucket = np.zeros(k + 1, dtype=np.int64)
    buckets = np.zeros(k + 1, dtype=np.int64)
    t_lo = np.zeros(k + 1, dtype=np.int64)
    t_hi = np.zeros(k + 1, dtype=np.int64)
    q_lo = np.zeros(k + 1, dtype=np.int64)
    q_hi = np.zeros(k + 1, dtype=np.int64)
    depth = 1
    band[1] = prefix[0] if prefix.size else 0
    t_hi[1] = targets
    q_hi[1] = queries
    fresh = True
    while depth > 0:
        if fresh:
            # Few hashes need few buckets: clearing the counters must not cost more than the hashes do.
            bits = min(bands[band[depth], 3], 4)
            while bits < bands[band[depth], 3] and (1 << bits) < t_hi[depth] - t_lo[depth]:
                bits += 1
            buckets[depth] = 1 << bits
            bucket[depth] = 0
            partition(
                table, target_codes[depth - 1], target_rows[depth - 1], t_lo[depth], t_hi[depth], bands[band[depth]],
                bits, target_codes[depth], target_rows[depth], target_ends[depth], keys,
            )  # fmt: skip
            if not same:
                partition(
                    table, query_codes[depth - 1], query_rows[depth - 1], q_lo[depth], q_hi[depth], bands[band[depth]],
                    bits, query_codes[depth], query_rows[depth], query_ends[depth], keys,
                )  # fmt: skip
            fresh = False
        if bucket[depth] == buckets[depth]:
            band[depth] += 1
            if depth <= prefix.size or band[depth] > count - k + depth - 1:
                depth -= 1
            else:
                fresh = True
            continue
        b = bucket[depth]
        bucket[depth] += 1
        t0, t1 = target_ends[depth, b], target_ends[depth, b + 1]
        q0, q1 = query_ends[depth, b], query_ends[depth, b + 1]
        if t0 == t1 or q0 == q1 or (same and t1 - t0 < 2):
            continue
        if depth < k:
            following = band[depth] + 1
            children = count - k + depth - following + 1
            if depth < prefix.size:
                following, children = prefix[depth], 1
            if _worth_splitting(t1 - t0, q1 - q0, same, children, bands[following, 3], deepen):
                depth += 1
                band[depth] = following
                t_lo[depth], t_hi[depth], q_lo[depth], q_hi[depth] = t0, t1, q0, q1
                fresh = True
                continue
        compare_run(
            table, target_codes[depth], target_rows[depth], t0, t1,
            query_codes[depth], query_rows[depth], q0, q1, best, spans,
        )  # fmt: skip


@compiled
def search_groups(
    table: Words,
    targets: Rows,
    target_groups: npt.NDArray[np.int64],
    queries: Rows,
    query_groups: npt.NDArray[np.int64],
    same: bool,
    best: Rows,
    spans: npt.NDArray[np.int64],
    bands: npt.NDArray[np.int64],
    k: int,
    prefix: npt.NDArray[np.int64],
    filter_words: int,
    deepen: float,
) -> None:
    """Searches each group (the rows of one context bucket) by itself; group g begins at ``target_groups[g]``."""
    most_targets, most_queries = 0, 0
    for g in range(target_groups.size - 1):
        t, q = target_groups[g + 1] - target_groups[g], query_groups[g + 1] - query_groups[g]
        if t > 0 and q > 0:
            most_targets, most_queries = max(most_targets, t), max(most_queries, q)
    most_buckets = 0
    for b in range(bands.shape[0]):
        most_buckets = max(most_buckets, 1 << bands[b, 3])
    # Levels below the first are used up to their longest run only; memory never touched is never allocated.
    target_codes = np.empty((k + 1, filter_words, most_targets + LANES), dtype=np.uint64)
    target_rows = np.empty((k + 1, most_targets), dtype=np.int32)
    target_ends = np.zeros((k + 1, most_buckets + 1), dtype=np.int64)
    keys = np.empty(max(most_targets, most_queries), dtype=np.uint16)
    query_codes, query_rows, query_ends = target_codes, target_rows, target_ends
    if not same:
        query_codes = np.empty((k + 1, filter_words, most_queries), dtype=np.uint64)
        query_rows = np.empty((k + 1, most_queries), dtype=np.int32)
        query_ends = np.zeros((k + 1, most_buckets + 1), dtype=np.int64)
    for g in range(target_groups.size - 1):
        t0, t1 = target_groups[g], target_groups[g + 1]
        q0, q1 = query_groups[g], query_groups[g + 1]
        if t0 == t1 or q0 == q1:
            continue
        load_codes(table, targets, t0, t1, target_codes[0], target_rows[0])
        if not same:
            load_codes(table, queries, q0, q1, query_codes[0], query_rows[0])
        _search_run(
            table, target_codes, target_rows, t1 - t0, query_codes, query_rows, q1 - q0, same, best, spans, bands,
            k, prefix, deepen, target_ends, query_ends, keys,
        )  # fmt: skip


@compiled
def search_probing(
    table: Words,
    targets: Rows,
    queries: Rows,
    best: Rows,
    spans: npt.NDArray[np.int64],
    bands: npt.NDArray[np.int64],
    filter_words: int,
) -> None:
    """Searches by a ``ProbePlan``: every bucket of queries meets the targets' buckets at most one bit away."""
    most_buckets = 0
    for b in range(bands.shape[0]):
        most_buckets = max(most_buckets, 1 << bands[b, 3])
    # Level 0 holds the codes as they come, level 1 in buckets.
    target_codes = np.empty((2, filter_words, targets.size + LANES), dtype=np.uint64)
    target_rows = np.empty((2, targets.size), dtype=np.int32)
    query_codes = np.empty((2, filter_words, queries.size), dtype=np.uint64)
    query_rows = np.empty((2, queries.size), dtype=np.int32)
    target_ends = np.zeros(most_buckets + 1, dtype=np.int64)
    query_ends = np.zeros(most_buckets + 1, dtype=np.int64)
    keys = np.empty(max(targets.size, queries.size), dtype=np.uint16)
    load_codes(table, targets, 0, targets.size, target_codes[0], target_rows[0])
    load_codes(table, queries, 0, queries.size, query_codes[0], query_rows[0])
    for b in range(bands.shape[0]):
        width = bands[b, 3]
        partition(
            table, target_codes[0], target_rows[0], 0, targets.size, bands[b], width,
            target_codes[1], target_rows[1], target_ends, keys,
        )  # fmt: skip
        partition(
            table, query_codes[0], query_rows[0], 0, queries.size, bands[b], width,
            query_codes[1], query_rows[1], query_ends, keys,
        )  # fmt: skip
        for bucket in range(1 << width):
            t0, t1 = target_ends[bucket], target_ends[bucket + 1]
            if t0 == t1:
                continue
            for bit in range(width + 1):
                # The last one is the bucket itself.
                other = bucket ^ (1 << bit) if bit < width else bucket
                q0, q1 = query_ends[other], query_ends[other + 1]
                if q0 < q1:
                    compare_run(
                        table, target_codes[1], target_rows[1], t0, t1,
                        query_codes[1], query_rows[1], q0, q1, best, spans,
                    )  # fmt: skip
