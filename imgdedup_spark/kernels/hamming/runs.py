"""Comparing one run of hashes with another, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.compare import Rows, compiled, first_passing, match

# Runs longer than this look up how early a neighbour must be to matter before they compare.
LONG_RUN = 256


# Multiplier of Fibonacci hashing (2**64 over the golden ratio): spreads band values over buckets.
MIX = np.uint64(0x9E3779B97F4A7C15)


@compiled
def compare_run(
    table: Words,
    target_codes: Words,
    target_rows: Rows,
    t0: int,
    t1: int,
    query_codes: Words,
    query_rows: Rows,
    q0: int,
    q1: int,
    best: Rows,
    spans: npt.NDArray[np.int64],
) -> None:
    """Compares every query of a run with the targets before it, earliest first, up to its first match."""
    words = target_codes.shape[0]
    threshold = spans[0, 2]
    end = t0
    # Often all targets come before all queries (an index, kept rows): then they need no counting one by one.
    if target_rows[t1 - 1] < query_rows[q0]:
        end = t1
    x1 = x2 = x3 = np.uint64(0)
    x0 = np.uint64(0)
    for j in range(q0, q1):
        row = query_rows[j]
        while end < t1 and target_rows[end] < row:
            end += 1
        stop = end
        # Only what is earlier than the best so far can matter. In short runs looking that up (a cache miss) costs more
        # than comparing.
        if end - t0 > LONG_RUN and target_rows[end - 1] >= best[row]:
            stop = t0 + np.searchsorted(target_rows[t0:end], best[row])
        if words > 0:
            x0 = query_codes[0, j]
        if words > 1:
            x1 = query_codes[1, j]
        if words > 2:
            x2 = query_codes[2, j]
            x3 = query_codes[3, j]
        s = first_passing(target_codes, t0, stop, x0, x1, x2, x3, threshold)
        while s >= 0 and target_rows[s] < best[row]:
            if match(table, target_rows[s], row, spans):
                best[row] = target_rows[s]
                break
            s = first_passing(target_codes, s + 1, stop, x0, x1, x2, x3, threshold)


@compiled
def partition(
    table: Words,
    codes: Words,
    rows: Rows,
    lo: int,
    hi: int,
    band: npt.NDArray[np.int64],
    bucket_bits: int,
    out_codes: Words,
    out_rows: Rows,
    ends: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint16],
) -> None:
    """Puts the codes ``lo..hi`` into buckets by one band, keeping their order inside each (a counting sort).

    ``ends[i]`` and ``ends[i + 1]`` are the limits of bucket ``i`` in the output.
    """
    buckets = 1 << bucket_bits
    word, shift, spills, width = band[0], np.uint64(band[1]), band[2], band[3]
    mask = np.uint64((1 << width) - 1)
    carried = table.shape[1] == 1 and codes.shape[0] == 1
    for b in range(buckets + 1):
        ends[b] = 0
    for i in range(lo, hi):
        if carried:
            value = codes[0, i] >> shift
        else:
            value = table[rows[i], word] >> shift
            if spills:
                value |= table[rows[i], word + 1] << (np.uint64(64) - shift)
        value &= mask
        if bucket_bits < width:
            value = (value * MIX) >> np.uint64(64 - bucket_bits)
        keys[i - lo] = value
        ends[np.int64(value) + 1] += 1
    for b in range(buckets):
        ends[b + 1] += ends[b]
    for i in range(lo, hi):
        key = np.int64(keys[i - lo])
        at = ends[key]
        ends[key] = at + 1
        out_rows[at] = rows[i]
        for w in range(codes.shape[0]):
            out_codes[w, at] = codes[w, i]
    # The starts have become the ends of their buckets: move them up by one.
    for b in range(buckets, 0, -1):
        ends[b] = ends[b - 1]
    ends[0] = 0


@compiled
def load_codes(table: Words, rows: Rows, lo: int, hi: int, codes: Words, out_rows: Rows) -> None:
    """The rows ``lo..hi`` and their filter words, as the first level of a search."""
    for i in range(lo, hi):
        out_rows[i - lo] = rows[i]
        for w in range(codes.shape[0]):
            codes[w, i - lo] = table[rows[i], w]
