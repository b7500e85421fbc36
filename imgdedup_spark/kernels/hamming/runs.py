"""Runs of hashes, compiled: levels of them, and how a run becomes the runs of the next level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.hamming.bands import Words
from imgdedup_spark.kernels.hamming.compare import LANES, Rows, Table

# Multiplier of Fibonacci hashing (2**64 over the golden ratio): spreads band values over buckets.
MIX = np.uint64(0x9E3779B97F4A7C15)


class Levels(NamedTuple):
    """Hashes in runs, one run after another, each in keep order. Level d has those that agree on d bands.

    Attributes:
        codes: ``(levels, filter words, n + LANES)`` uint64, the words that are compared at full speed.
        rows: ``(levels, n)`` the hashes' rows in the table.
        ends: ``(levels, buckets + 1)``; run i of level d is ``ends[d, i] .. ends[d, i + 1] - 1``.
    """

    codes: Words
    rows: Rows
    ends: npt.NDArray[np.int64]


class Level(NamedTuple):
    """One of the levels."""

    codes: Words
    rows: Rows
    ends: npt.NDArray[np.int64]


@compiled
def level(levels: Levels, depth: int) -> Level:
    return Level(levels.codes[depth], levels.rows[depth], levels.ends[depth])


@compiled
def make_levels(levels: int, hashes: int, words: int, bands: npt.NDArray[np.int64]) -> Levels:
    """Room for so many levels, with ``words`` filter words, whichever bands cut them."""
    buckets = 1
    for band in range(bands.shape[0]):
        buckets = max(buckets, 1 << bands[band, 3])
    # Levels below the first are used up to their longest run only; memory never touched is never allocated.
    return Levels(
        np.empty((levels, words, hashes + LANES), dtype=np.uint64),
        np.empty((levels, hashes), dtype=np.int32),
        np.zeros((levels, buckets + 1), dtype=np.int64),
    )


@compiled
def fill(levels: Levels, table: Table, rows: Rows) -> None:
    """Makes these rows the one run of level 0."""
    words, codes, level_rows = table.words, levels.codes[0], levels.rows[0]
    for i in range(rows.size):
        level_rows[i] = rows[i]
        for w in range(codes.shape[0]):
            codes[w, i] = words[rows[i], w]
    levels.ends[0, 1] = rows.size


@compiled
def cut_by_band(
    words: Words, level: Level, run: int, band: npt.NDArray[np.int64], bits: int, out: Level, scratch: npt.NDArray
) -> None:
    """Puts a run of a level into buckets, the runs of the next level, keeping the order inside each (a counting sort).

    Args:
        words: of the table.
        band: ``(4,)`` word, shift, whether it goes on in the next word, width in bits.
        bits: at most the width; there are ``1 << bits`` buckets.
        scratch: uint16, room for the bucket number of each hash.
    """
    codes, rows = level.codes, level.rows
    out_codes, out_rows, ends = out
    start, stop = level.ends[run], level.ends[run + 1]
    buckets = 1 << bits
    word, shift, spills, width = band[0], np.uint64(band[1]), band[2], band[3]
    mask = np.uint64((1 << width) - 1)
    carried = words.shape[1] == 1 and codes.shape[0] == 1
    for b in range(buckets + 1):
        ends[b] = 0
    for i in range(start, stop):
        if carried:
            value = codes[0, i] >> shift
        else:
            value = words[rows[i], word] >> shift
            if spills:
                value |= words[rows[i], word + 1] << (np.uint64(64) - shift)
        value &= mask
        if bits < width:
            value = (value * MIX) >> np.uint64(64 - bits)
        scratch[i - start] = value
        ends[np.int64(value) + 1] += 1
    for b in range(buckets):
        ends[b + 1] += ends[b]
    for i in range(start, stop):
        key = np.int64(scratch[i - start])
        at = ends[key]
        ends[key] = at + 1
        out_rows[at] = rows[i]
        for w in range(codes.shape[0]):
            out_codes[w, at] = codes[w, i]
    # The starts have become the ends of their buckets: move them up by one.
    for b in range(buckets, 0, -1):
        ends[b] = ends[b - 1]
    ends[0] = 0
