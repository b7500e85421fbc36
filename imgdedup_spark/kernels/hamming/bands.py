"""The band plan: which bits of a hash form the keys that near-duplicates must share, and how many of them.

Cut a hash into ``T + k`` bands: two hashes within ``T`` bits differ in at most ``T`` bands, so they agree on at
least ``k`` (the pigeonhole principle). Comparing only hashes that agree on some choice of ``k`` bands therefore
misses nothing. More bands to a key mean fewer comparisons and more keys; the plan weighs the two with the
collision rates of a sample of the real hashes, which are far from uniform.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
# Costs on one core in nanoseconds, measured by benchmarks/near_kernel.py. Only their ratios matter for the choice
# of k.
PAIR_NS = 0.05  # one comparison of one word in a long run: eight in one vector operation
QUERY_NS = 3.0  # one hash in one run, however short the run
MOVE_NS = 4.5  # putting one hash into its bucket
RUN_NS = 20.0  # looking whether there is anything to compare in a pair of buckets
# A band's bucket number has at most 16 bits, so that its counters fit the cache; a key of several bands is longer.
MAX_BAND_BITS = 16
# Layouts tried (round robin by entropy, contiguous, random ones): beyond a few the estimate does not improve.
RANDOM_LAYOUTS = 3
# Keys looked at for an estimate. There can be thousands (256 bits, T = 31, k = 3: 5,984); their mean is all that
# is needed.
KEYS_ESTIMATED = 48


@dataclass(frozen=True)
class BandPlan:
    """How candidates of one part's hashes are found.

    Attributes:
        bits: the hash's bits.
        threshold: T, in bits.
        k: bands that form a key; 0 compares all pairs.
        order: for every bit of the rearranged words, the bit it comes from (``64 * word + bit``, bit 0 the lowest).
            Hamming distance does not change when the bits of all hashes are permuted alike.
        starts: each band's first bit in the rearranged words.
        widths: each band's bits, 0 to ``MAX_BAND_BITS``.
        comparisons: expected number of hash comparisons.
        seconds: expected time on one core.
        rate: comparisons for each pair that all-pairs would compare.
    """

    bits: int
    threshold: int
    k: int
    order: tuple[int, ...]
    starts: tuple[int, ...]
    widths: tuple[int, ...]
    comparisons: float
    seconds: float
    rate: float = 1.0

    @property
    def keys(self) -> int:
        """Keys of each hash: the ways to choose k bands."""
        return math.comb(len(self.widths), self.k) if self.k else 0

    @property
    def first_bands(self) -> int:
        """Bands that can be the first of the k that agree: k - 1 must follow it."""
        return len(self.widths) - self.k + 1 if self.k else 0

    def search_seconds(self, hashes: int) -> float:
        """Expected time on one core to search so many hashes among themselves."""
        return _seconds(hashes * (hashes - 1) / 2 * self.rate, hashes, hashes, len(self.widths), self.k)

    def lookup_seconds(self, targets: int, queries: int) -> float:
        """Expected time on one core to find so many queries among other hashes."""
        return _seconds(targets * queries * self.rate, targets + queries, queries, len(self.widths), self.k)

    def summary(self) -> dict[str, Any]:
        """What the log and ``summary.json`` say about the plan."""
        return {
            "k": self.k,
            "bands": len(self.widths) if self.k else 0,
            "keys": self.keys,
            "comparisons": round(self.comparisons),
        }


def make_plan(
    sample: Words,
    bits: int,
    threshold: int,
    *,
    hashes: float,
    pairs: float,
    force_k: int | None = None,
) -> BandPlan:
    """The cheapest plan for ``hashes`` hashes with ``pairs`` pairs to be told apart.

    Args:
        sample: ``(m, words)`` uint64, some of the real hashes, packed by ``table.pack_codes``.
        bits: the hash's bits.
        threshold: T, in bits, at least 0.
        hashes: how many hashes are put into buckets.
        pairs: how many pairs all-pairs would compare.
        force_k: take this k (0 is all-pairs) instead of the cheapest.
    """
    candidates = [force_k] if force_k is not None else [0, 1, 2, 3]
    plans = [_plan_for(sample, bits, threshold, k, hashes, pairs) for k in candidates]
    return min(plans, key=lambda plan: plan.seconds)


def _plan_for(sample: Words, bits: int, threshold: int, k: int, hashes: float, pairs: float) -> BandPlan:
    width = sample.shape[1]
    identity = tuple(range(64 * width))
    if k == 0:
        return BandPlan(bits, threshold, 0, identity, (), (), pairs, pairs * PAIR_NS * 1e-9)
    bands = threshold + k
    # With more bands than bits some are empty: nothing to gain, but a forced k must still be right.
    layouts = [_deal(np.arange(bits), bands)] if bands > bits else _layouts(sample, bits, bands)
    rates = [_collision_rate(sample, layout, k) for layout in layouts]
    best = int(np.argmin(rates))
    order, starts, widths = _arrange(layouts[best], width)
    comparisons = pairs * rates[best]
    seconds = _seconds(comparisons, hashes, hashes, bands, k)
    return BandPlan(bits, threshold, k, order, starts, widths, comparisons, seconds, rates[best])


def _seconds(comparisons: float, moved: float, queries: float, bands: int, k: int) -> float:
    moves = sum(math.comb(bands - k + depth, depth) for depth in range(1, k + 1))
    keys = math.comb(bands, k) if k else 0
    return 1e-9 * (comparisons * PAIR_NS + moved * moves * MOVE_NS + queries * keys * QUERY_NS)


@dataclass(frozen=True)
class ProbePlan:
    """How few hashes are found among many that have been put into buckets as seldom as possible.

    Cut into ``T // 2 + 1`` bands, two hashes within ``T`` bits differ in at most one bit of some band: with two or
    more in each they would differ in more than ``T``. So each target goes into one bucket a band, and a query looks
    into its own bucket and into those one bit away.

    Attributes:
        starts: each band's first bit in the rearranged words.
        widths: each band's bits, 1 to ``MAX_BAND_BITS``.
        rate: comparisons for each pair of a target and a query.
    """

    starts: tuple[int, ...]
    widths: tuple[int, ...]
    rate: float

    def seconds(self, targets: int, queries: int) -> float:
        """Expected time on one core."""
        bands, probes = len(self.widths), sum(width + 1 for width in self.widths)
        runs = sum((width + 1) << width for width in self.widths)
        compared = targets * queries * self.rate * PAIR_NS + queries * probes * QUERY_NS
        return 1e-9 * (compared + (targets + queries) * bands * MOVE_NS + runs * RUN_NS)


def make_probe_plan(sample: Words, bits: int, threshold: int) -> ProbePlan | None:
    """A plan for hashes like these, or None where there are more bands than bits.

    Args:
        sample: ``(m, words)`` uint64, rearranged as a ``BandPlan`` says, which deals good and bad bits evenly.
    """
    bands = threshold // 2 + 1
    if bands > bits:
        return None
    starts = [bits * band // bands for band in range(bands)]
    widths = [min(bits * (band + 1) // bands - bits * band // bands, MAX_BAND_BITS) for band in range(bands)]
    matrix = _bit_matrix(sample)
    pairs = max(1, len(sample) * (len(sample) - 1))
    rate = 0.0
    for start, width in zip(starts, widths, strict=True):
        values = matrix[:, start : start + width].astype(np.int64) @ (1 << np.arange(width))
        counts = np.bincount(values, minlength=1 << width).astype(np.float64)
        buckets = np.arange(1 << width)
        seen = counts + sum(counts[buckets ^ (1 << bit)] for bit in range(width))
        # As for the other plans, a sample that shows nothing says no more than "at best uniform".
        rate += max((float(counts @ seen) - len(sample)) / pairs, (width + 1) / (1 << width))
    return ProbePlan(tuple(starts), tuple(widths), rate)


def _deal(bit_numbers: npt.NDArray[np.int64], bands: int) -> list[npt.NDArray[np.int64]]:
    """Deals the bits to the bands one after another, like cards."""
    return [bit_numbers[band::bands][:MAX_BAND_BITS] for band in range(bands)]


def _layouts(sample: Words, bits: int, bands: int) -> list[list[npt.NDArray[np.int64]]]:
    """Several ways to give the bits to the bands.

    Bits that hardly vary tell nothing apart: dealt out by entropy, every band gets its share of them and of the
    good ones (in contiguous bands the hashes that share their first 48 bits would make some keys useless).
    """
    total = 64 * sample.shape[1]
    # Right-aligned big-endian values read as little-endian words: which label a bit has does not matter, padding
    # does.
    ones = _bit_means(sample)
    entropy = -np.abs(ones - 0.5)
    by_entropy = np.argsort(-entropy, kind="stable")[: max(bits, bands)]
    by_entropy = by_entropy[:total]
    contiguous = np.sort(by_entropy)
    layouts = [
        _deal(by_entropy, bands),
        [piece[:MAX_BAND_BITS] for piece in np.array_split(contiguous, bands)],
    ]
    rng = np.random.default_rng(0)
    layouts += [_deal(rng.permutation(by_entropy), bands) for _ in range(RANDOM_LAYOUTS)]
    return layouts


def _bit_means(sample: Words) -> npt.NDArray[np.float64]:
    """How often each bit is set: ``(64 * words,)``."""
    if len(sample) == 0:
        return np.full(64 * sample.shape[1], 0.5)
    return _bit_matrix(sample).mean(axis=0)


def _bit_matrix(words: Words) -> npt.NDArray[np.uint8]:
    """``(n, 64 * words)``: the bits one by one, bit 0 of a word first."""
    little = np.ascontiguousarray(words, dtype="<u8")
    return np.unpackbits(little.view(np.uint8).reshape(len(words), -1), axis=1, bitorder="little")


def _collision_rate(sample: Words, layout: list[npt.NDArray[np.int64]], k: int) -> float:
    """The sum over all keys of the chance that two hashes share it, estimated from pairs of the sample."""
    if len(sample) < 2:
        return sum(0.5 ** sum(len(layout[b]) for b in key) for key in _some_keys(len(layout), k)[0])
    matrix = _bit_matrix(sample)
    values = []
    for band in layout:
        weights = (1 << np.arange(len(band), dtype=np.uint64)).astype(np.uint64)
        values.append(matrix[:, band].astype(np.uint64) @ weights)
    keys, scale = _some_keys(len(layout), k)
    pairs = len(sample) * (len(sample) - 1) / 2
    total = 0.0
    for key in keys:
        joined = np.zeros(len(sample), dtype=np.uint64)
        for band_number in key:
            joined = (joined << np.uint64(MAX_BAND_BITS)) | values[band_number]
        joined.sort()
        changes = np.flatnonzero(joined[1:] != joined[:-1]) + 1
        runs = np.diff(np.concatenate([[0], changes, [len(joined)]])).astype(np.float64)
        # A sample without a collision says "rarer than it can show": uniform bits are the best case.
        uniform = pairs * 0.5 ** sum(len(layout[b]) for b in key)
        total += max(float((runs * (runs - 1) / 2).sum()), uniform)
    return scale * total / pairs


def _some_keys(bands: int, k: int) -> tuple[list[tuple[int, ...]], float]:
    """Up to ``KEYS_ESTIMATED`` choices of k bands, and the factor that scales their sum to all choices."""
    count = math.comb(bands, k)
    if count <= KEYS_ESTIMATED:
        return list(itertools.combinations(range(bands), k)), 1.0
    rng = np.random.default_rng(1)
    keys = [tuple(sorted(rng.choice(bands, size=k, replace=False).tolist())) for _ in range(KEYS_ESTIMATED)]
    return keys, count / KEYS_ESTIMATED


def _arrange(
    layout: list[npt.NDArray[np.int64]], width: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Lays the bands one after another and the bits of no band behind them: (order, starts, widths)."""
    widths = [len(band) for band in layout]
    starts = np.concatenate([[0], np.cumsum(widths)])[:-1]
    used = np.concatenate(layout).astype(np.int64)
    rest = np.setdiff1d(np.arange(64 * width), used)
    order = np.concatenate([used, rest])
    return tuple(order.tolist()), tuple(starts.tolist()), tuple(widths)
