"""Hashes as packed words, and the compiled search for each hash's earliest neighbour.

A *table* is ``(n, width)`` uint64, one hash a row, in keep order: a row's number says how early it comes. The bits
of the part that makes the candidates come first, permuted so that its bands lie one after another; then the other
parts, then the context. All functions here are plain NumPy and Numba: no Spark.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.ir as ir
import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from imgdedup_spark.bands import MAX_BAND_BITS, MOVE_NS, PAIR_NS, QUERY_NS, BandPlan, Words

Rows = npt.NDArray[np.int32]

F = TypeVar("F", bound=Callable[..., Any])

# A context enters the table as a digest of this many bytes: equal digests are equal contexts.
CONTEXT_BYTES = 16
# Runs longer than this look up how early a neighbour must be to matter before they compare.
LONG_RUN = 256
# Codes compared by one vector operation: 8 of 64 bits fill an AVX-512 register.
LANES = 8
# A fraction of pairs that pass the first words and need the full comparison; below it the full one costs nothing.
FILTER_RATE = 0.01
# Multiplier of Fibonacci hashing (2**64 over the golden ratio): spreads band values over buckets.
_MIX = np.uint64(0x9E3779B97F4A7C15)
# Bytes of the permutation tables beyond which bits are moved one by one.
_TABLE_WORDS = 8


def compiled(function: F) -> F:
    """Numba's ``njit`` with its machine code kept on disk where that is possible; elsewhere each worker compiles."""
    try:
        cached = numba.njit(cache=True, nogil=True)(function)
        if _can_write(cached.stats.cache_path):
            return cached
    except RuntimeError:
        pass  # Numba found no place for a cache.
    return numba.njit(nogil=True)(function)


@cache
def _can_write(folder: str) -> bool:
    """Whether files can be made there. For code in a zip file (``--py-files``) Numba does not find out in time."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@intrinsic
def _popcount(typing_context: Any, word: Any) -> Any:
    """Set bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """The number of the lowest set bit of an int64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def _within(words: int) -> Any:
    """Builds the inner instruction of the search: ``within(codes, i, x0, x1, x2, x3, threshold)``.

    It compares the codes ``i .. i + LANES - 1`` (word w of them in ``codes[w]``) with the code of words ``x0`` …, and
    returns a bit for each that is within the threshold. It is written as one LLVM vector operation because loops as
    short as the runs of a good plan (some dozens of codes) spend most of their time in what a vectoriser leaves over.
    LLVM turns it into the widest instructions the CPU has, with or without AVX-512. It takes the whole array, since
    views made in the loop would cost more (their reference counts are atomic) than the comparisons.
    """

    def within(typing_context: Any, codes: Any, i: Any, x0: Any, x1: Any, x2: Any, x3: Any, threshold: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(ir.IntType(64), LANES)
            counting = ir.FunctionType(vector, [vector])
            count = cgutils.get_or_insert_function(builder.module, counting, f"llvm.ctpop.v{LANES}i64")
            undefined = ir.Constant(vector, ir.Undefined)

            def spread(value: Any) -> Any:
                lane = builder.insert_element(undefined, value, ir.IntType(32)(0))
                return builder.shuffle_vector(lane, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None))

            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            columns = builder.extract_value(array.shape, 1)
            different = undefined
            for word in range(words):
                at = builder.add(arguments[1], builder.mul(columns, columns.type(word)))
                codes = builder.load(builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer()))
                codes.align = 8
                bits = builder.call(count, [builder.xor(codes, spread(arguments[2 + word]))])
                different = builder.add(different, bits) if word else bits
            flags = builder.icmp_unsigned("<=", different, spread(arguments[6]))
            return builder.zext(builder.bitcast(flags, ir.IntType(LANES)), ir.IntType(64))

        word = types.uint64
        return types.int64(codes, types.intp, word, word, word, word, types.int64), generate

    return intrinsic(within)


_within_1, _within_2, _within_4 = _within(1), _within(2), _within(4)


@dataclass(frozen=True)
class Part:
    """One of the hashes that make up an item's code.

    Attributes:
        bits: 1 to 4096.
        threshold: two items match if every part differs in at most this many bits.
        reported: whether the part belongs to the main hash; the distance reported is the largest over those.
    """

    bits: int
    threshold: int
    reported: bool = True

    @property
    def bytes(self) -> int:
        """Bytes in the code."""
        return (self.bits + 7) // 8

    @property
    def words(self) -> int:
        """Words in the table."""
        return (self.bits + 63) // 64


def pack_codes(codes: npt.NDArray[np.uint8], parts: Sequence[Part]) -> list[Words]:
    """Splits codes into parts: for each part ``(n, part.words)`` uint64.

    Args:
        codes: ``(n, sum of part.bytes)`` uint8. Only which bits differ matters, so the bytes' order in a word does
            not.
    """
    packed = []
    start = 0
    for part in parts:
        padded = np.zeros((len(codes), 8 * part.words), dtype=np.uint8)
        padded[:, : part.bytes] = codes[:, start : start + part.bytes]
        packed.append(padded.view("<u8").astype(np.uint64, copy=False))
        start += part.bytes
    return packed


@dataclass(frozen=True)
class Matcher:
    """Everything that decides whether two rows of a table match, small enough to travel with a Spark task.

    Attributes:
        parts: the parts in the code's order.
        main: number of the part whose bands make the candidates.
        plan: that part's plan.
        contexts: whether rows carry a context that must be equal.
        filter_words: words compared at full speed before the full comparison: 1, 2 or 4, or 0 for none.
        deepen: 1 by default; larger values make the search use longer keys on smaller sets (tests force them with
            it).
    """

    parts: tuple[Part, ...]
    main: int
    plan: BandPlan
    contexts: bool
    filter_words: int = 1
    deepen: float = 1.0

    @cached_property
    def width(self) -> int:
        """Words of a row of the table."""
        return sum(part.words for part in self.parts) + (CONTEXT_BYTES // 8 if self.contexts else 0)

    @cached_property
    def spans(self) -> npt.NDArray[np.int64]:
        """``(parts, 4)``: first word, end, threshold, reported; the context is a part that may not differ at all."""
        order = [self.main, *(i for i in range(len(self.parts)) if i != self.main)]
        spans = []
        start = 0
        for i in order:
            part = self.parts[i]
            spans.append((start, start + part.words, part.threshold, int(part.reported)))
            start += part.words
        if self.contexts:
            spans.append((start, start + CONTEXT_BYTES // 8, 0, 0))
        return np.array(spans, dtype=np.int64)

    @cached_property
    def _bands(self) -> npt.NDArray[np.int64]:
        """``(bands, 4)``: word, shift, whether it goes on in the next word, width in bits."""
        rows = [
            (start // 64, start % 64, int(start % 64 + width > 64), width)
            for start, width in zip(self.plan.starts, self.plan.widths, strict=True)
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 4)

    def pack(self, codes: npt.NDArray[np.uint8], contexts: npt.NDArray[np.uint8] | None = None) -> Words:
        """The table of these codes: ``(n, width)``.

        Args:
            codes: ``(n, code bytes)`` uint8.
            contexts: ``(n, CONTEXT_BYTES)`` uint8, if the matcher has contexts.
        """
        packed = pack_codes(codes, self.parts)
        columns = [permute_bits(packed[self.main], self.plan.order)]
        columns += [words for i, words in enumerate(packed) if i != self.main]
        if self.contexts:
            assert contexts is not None
            columns.append(np.ascontiguousarray(contexts).view(np.uint64))
        return np.ascontiguousarray(np.concatenate(columns, axis=1))

    def search(
        self,
        table: Words,
        targets: Rows,
        queries: Rows,
        best: Rows,
        prefix: tuple[int, ...] = (),
    ) -> None:
        """Finds every query's earliest neighbour among the targets.

        Args:
            table: ``(n, width)``.
            targets, queries: row numbers, ascending; the same array object for a search of a set in itself.
            best: ``(n,)``, changed in place. On entry, for each query, the row number (at most its own) that a
                neighbour must
                be smaller than; on return the smallest neighbour's row number if there is one, else unchanged.
            prefix: look only at keys that begin with these bands (at most ``plan.k`` of them).
        """
        same = targets is queries
        if self.contexts:
            target_groups = self._context_groups(table, targets)
            query_groups = target_groups if same else self._context_groups(table, queries)
            groups = 1 << MAX_BAND_BITS
            order = np.argsort(target_groups, kind="stable")
            targets = targets[order]
            target_ends = np.searchsorted(target_groups[order], np.arange(groups + 1))
            if same:
                queries, query_ends = targets, target_ends
            else:
                order = np.argsort(query_groups, kind="stable")
                queries = queries[order]
                query_ends = np.searchsorted(query_groups[order], np.arange(groups + 1))
        else:
            target_ends = np.array([0, len(targets)])
            query_ends = np.array([0, len(queries)])
        _search_groups(
            table,
            np.ascontiguousarray(targets),
            target_ends.astype(np.int64),
            np.ascontiguousarray(queries),
            query_ends.astype(np.int64),
            same,
            best,
            self.spans,
            self._bands,
            self.plan.k,
            np.array(prefix, dtype=np.int64),
            self.filter_words,
            self.deepen,
        )

    def _context_groups(self, table: Words, rows: Rows) -> npt.NDArray[np.uint16]:
        """A 16-bit bucket of each row's context."""
        mixed = (table[rows, -1] ^ (table[rows, -2] * _MIX)) * _MIX
        return (mixed >> np.uint64(64 - MAX_BAND_BITS)).astype(np.uint16)

    def buckets(self, table: Words, prefix: tuple[int, ...], groups: int) -> npt.NDArray[np.int64]:
        """The bucket, 0 to ``groups - 1``, of each row's context and values of these bands."""
        mixed = np.zeros(len(table), dtype=np.uint64)
        if self.contexts:
            mixed = (table[:, -1] ^ (table[:, -2] * _MIX)) * _MIX
        for band in prefix:
            word, shift, spills, width = (int(x) for x in self._bands[band])
            values = table[:, word] >> np.uint64(shift)
            if spills:
                values |= table[:, word + 1] << np.uint64(64 - shift)
            values &= np.uint64((1 << width) - 1)
            # The band's number keeps the buckets of different bands from falling on the same tasks.
            mixed = (mixed ^ values ^ (np.uint64(band + 1) << np.uint64(40))) * _MIX
        # The product's high bits depend on all bits below them, its low bits do not.
        return ((mixed >> np.uint64(32)) % np.uint64(groups)).astype(np.int64)

    def distances(self, table: Words, rows: Rows, others: Rows) -> npt.NDArray[np.int32]:
        """The reported distance, in bits, between ``rows[i]`` and ``others[i]`` of the table."""
        return _distances(table, rows, others, self.spans)


def earliest_neighbours(matcher: Matcher, table: Words) -> Rows:
    """For every row the earliest row before it that matches it, or its own number: ``(n,)``."""
    rows = np.arange(len(table), dtype=np.int32)
    best = rows.copy()
    matcher.search(table, rows, rows, best)
    return best


def choose_filter_words(sample: Words, plan: BandPlan, words: int) -> int:
    """How many words tell nearly all pairs apart: 1, 2 or 4 that let through at most ``FILTER_RATE`` of the pairs,
    or 0.

    Args:
        sample: ``(m, words)`` of the part that makes the candidates, permuted.
    """
    half = len(sample) // 2
    if half < 2:
        return 1
    # The bands of the key agree, which leaves fewer bits to tell pairs apart, hence the margin of the rate.
    different = _bit_counts(sample[:half] ^ sample[half : 2 * half])
    for count in (1, 2, 4):
        if count <= words and (different[:, :count].sum(axis=1) <= plan.threshold).mean() <= FILTER_RATE:
            return count
    return next((count for count in (4, 2, 1) if count == words), 0)


def _bit_counts(words: Words) -> npt.NDArray[np.int64]:
    """Set bits of each word, in NumPy 1 as well (``bitwise_count`` came with NumPy 2)."""
    as_bytes = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 8)
    return np.unpackbits(as_bytes, axis=-1).sum(axis=-1, dtype=np.int64)


def permute_bits(words: Words, order: Sequence[int]) -> Words:
    """Bit ``i`` of the result is bit ``order[i]`` of the words: ``(n, width)``, bit 0 of word 0 the first."""
    if list(order) == list(range(64 * words.shape[1])):
        return words
    sources = np.asarray(order, dtype=np.int64)
    if words.shape[1] > _TABLE_WORDS:
        return _permute_singly(np.ascontiguousarray(words), sources)
    # For every byte and value of it, the bits it contributes.
    width = words.shape[1]
    tables = np.zeros((8 * width, 256, width), dtype=np.uint64)
    values = np.arange(256, dtype=np.uint64)
    for target, source in enumerate(sources.tolist()):
        bit = (values >> np.uint64(source % 8)) & np.uint64(1)
        tables[source // 8, :, target // 64] |= bit << np.uint64(target % 64)
    return _permute_by_tables(np.ascontiguousarray(words), tables)


@compiled
def _permute_by_tables(words: Words, tables: Words) -> Words:
    out = np.zeros_like(words)
    for i in range(words.shape[0]):
        for byte in range(8 * words.shape[1]):
            value = (words[i, byte // 8] >> np.uint64(8 * (byte % 8))) & np.uint64(255)
            for w in range(words.shape[1]):
                out[i, w] |= tables[byte, value, w]
    return out


@compiled
def _permute_singly(words: Words, sources: npt.NDArray[np.int64]) -> Words:
    out = np.zeros_like(words)
    for i in range(words.shape[0]):
        for target in range(sources.size):
            source = sources[target]
            bit = (words[i, source // 64] >> np.uint64(source % 64)) & np.uint64(1)
            out[i, target // 64] |= bit << np.uint64(target % 64)
    return out


@compiled
def match(table: Words, a: int, b: int, spans: npt.NDArray[np.int64]) -> bool:
    for p in range(spans.shape[0]):
        different = 0
        for w in range(spans[p, 0], spans[p, 1]):
            different += _popcount(table[a, w] ^ table[b, w])
        if different > spans[p, 2]:
            return False
    return True


@compiled
def _distances(table: Words, rows: Rows, others: Rows, spans: npt.NDArray[np.int64]) -> Rows:
    out = np.zeros(rows.size, dtype=np.int32)
    for i in range(rows.size):
        for p in range(spans.shape[0]):
            if spans[p, 3]:
                different = 0
                for w in range(spans[p, 0], spans[p, 1]):
                    different += _popcount(table[rows[i], w] ^ table[others[i], w])
                out[i] = max(out[i], different)
    return out


@compiled
def first_passing(codes: Words, lo: int, stop: int, x0: Any, x1: Any, x2: Any, x3: Any, threshold: int) -> int:
    """The first of the codes ``lo .. stop - 1`` whose filter words are within the threshold of x, or -1.

    All the time of a search goes into this loop. ``codes`` must have ``LANES`` columns more than are asked for, which
    are read but do not count.
    """
    words = codes.shape[0]
    if words == 0:
        return lo if lo < stop else -1
    i = lo
    while i < stop:
        if words == 1:
            hits = _within_1(codes, i, x0, x1, x2, x3, threshold)
        elif words == 2:
            hits = _within_2(codes, i, x0, x1, x2, x3, threshold)
        else:
            hits = _within_4(codes, i, x0, x1, x2, x3, threshold)
        if hits != 0:
            first = i + _lowest_bit(hits)
            return first if first < stop else -1
        i += LANES
    return -1


@compiled
def _compare_run(
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
def _partition(
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
            value = (value * _MIX) >> np.uint64(64 - bucket_bits)
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
        _compare_run(
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
            _partition(
                table, target_codes[depth - 1], target_rows[depth - 1], t_lo[depth], t_hi[depth], bands[band[depth]],
                bits, target_codes[depth], target_rows[depth], target_ends[depth], keys,
            )  # fmt: skip
            if not same:
                _partition(
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
        _compare_run(
            table, target_codes[depth], target_rows[depth], t0, t1,
            query_codes[depth], query_rows[depth], q0, q1, best, spans,
        )  # fmt: skip


@compiled
def _search_groups(
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
        for i in range(t0, t1):
            target_rows[0, i - t0] = targets[i]
            for w in range(filter_words):
                target_codes[0, w, i - t0] = table[targets[i], w]
        if not same:
            for i in range(q0, q1):
                query_rows[0, i - q0] = queries[i]
                for w in range(filter_words):
                    query_codes[0, w, i - q0] = table[queries[i], w]
        _search_run(
            table, target_codes, target_rows, t1 - t0, query_codes, query_rows, q1 - q0, same, best, spans, bands,
            k, prefix, deepen, target_ends, query_ends, keys,
        )  # fmt: skip
