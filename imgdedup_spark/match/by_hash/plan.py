"""The plan of a search: a sample, and the part that finds candidates most cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from imgdedup_spark.kernels.barred import NOT_BARRED, Barred
from imgdedup_spark.kernels.hamming.bands import BandPlan, Words, make_plan, make_probe_plan
from imgdedup_spark.kernels.hamming.bits import permute_bits
from imgdedup_spark.kernels.hamming.parts import Part, pack_codes
from imgdedup_spark.kernels.hamming.table import Matcher, choose_filter_words

# Hashes looked at to plan: their 33 million pairs show collision rates down to about one in a million.
SAMPLE_HASHES = 8192


@dataclass(frozen=True)
class NearOptions:
    """Tuning; the defaults are right for users.

    Attributes:
        k: force this many agreeing bands (0: all pairs) instead of the cheapest.
        path: force ``broadcast`` or ``shuffle``.
        broadcast_bytes: the largest table, words and ranks, that is sent to every task. 256 MiB are 16.7 million
            64-bit
            hashes; a task needs about four times as much while it searches.
        lookup_hashes: most hashes that are broadcast to find them among many others, which repeats them for every
            block of
            a million of those.
        unit_hashes: most hashes of one reducer's unit on the shuffle path: 64 MB of 64-bit hashes with their ranks.
        task_seconds: expected seconds of search on one core from which on it is shared out among tasks.
        tasks: force the number of searching tasks.
        block: force the rows of a block of the last walk.
        deepen: see ``Matcher``.
    """

    k: int | None = None
    path: str | None = None
    broadcast_bytes: int = 256 << 20
    lookup_hashes: int = 1_000_000
    unit_hashes: int = 4_000_000
    task_seconds: float = 1.0
    tasks: int | None = None
    block: int | None = None
    deepen: float = 1.0


def sample_codes(items: DataFrame, count: int) -> np.ndarray[Any, Any]:
    """Some of the items' codes: ``(m, code bytes)`` uint8. Every comparison is one of an item, so that references,
    which may be very many, need not be looked at."""
    # Half as many again, because Spark's sampling is a coin for each row.
    fraction = min(1.0, 1.5 * SAMPLE_HASHES / count)
    rows = items.select("code").sample(fraction=fraction, seed=0).collect()[:SAMPLE_HASHES]
    if not rows:
        rows = items.select("code").limit(SAMPLE_HASHES).collect()
    return np.array([np.frombuffer(row["code"], dtype=np.uint8) for row in rows])


def make_matcher(
    codes: np.ndarray[Any, Any],
    parts: Sequence[Part],
    contexts: bool,
    count: int,
    known: int,
    options: NearOptions,
    barred: Barred = NOT_BARRED,
) -> Matcher:
    """A matcher by the part that finds the candidates most cheaply. Any can: matches are close in every part."""
    samples = pack_codes(codes, parts)
    pairs = count * (count - 1) / 2 + count * known
    plans = [
        make_plan(sample, part.bits, part.threshold, hashes=count + known, pairs=pairs, force_k=options.k)
        for sample, part in zip(samples, parts, strict=True)
    ]
    main = min(range(len(parts)), key=lambda i: plans[i].seconds)
    plan: BandPlan = plans[main]
    permuted: Words = permute_bits(samples[main], plan.order)
    words = choose_filter_words(permuted, plan, parts[main].words)
    probe = make_probe_plan(permuted, parts[main].bits, parts[main].threshold) if options.k is None else None
    return Matcher(tuple(parts), main, plan, contexts, words, options.deepen, probe, barred)
