"""Hashes as packed words, and who is whose earliest neighbour among them.

A *table* is ``(n, width)`` uint64, one hash a row, in keep order: a row's number says how early it comes. The bits
of the part that makes the candidates come first, permuted so that its bands lie one after another; then the other
parts, then the context, then, if some pairs never match, the row's number (see ``kernels.barred``). All functions here
are plain NumPy and Numba: no Spark.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.barred import NOT_BARRED, Barred
from imgdedup_spark.kernels.hamming.bands import MAX_BAND_BITS, BandPlan, ProbePlan, Words
from imgdedup_spark.kernels.hamming.bits import bit_counts, permute_bits
from imgdedup_spark.kernels.hamming.compare import Rows, Table, distances
from imgdedup_spark.kernels.hamming.parts import CONTEXT_BYTES, Part, pack_codes
from imgdedup_spark.kernels.hamming.runs import MIX
from imgdedup_spark.kernels.hamming.search import Groups, Keys, search_groups, search_probing

# The first words are compared by themselves if they let through at most this part of the pairs, whose full comparison
# then costs next to nothing.
FILTER_RATE = 0.01


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
        probe: another way to find few rows among many, taken where it costs less; None for never.
        barred: pairs of numbers that never match (see ``Table``); the rows have a word for theirs if there are any.
    """

    parts: tuple[Part, ...]
    main: int
    plan: BandPlan
    contexts: bool
    filter_words: int = 1
    deepen: float = 1.0
    probe: ProbePlan | None = None
    barred: Barred = field(default_factory=lambda: NOT_BARRED)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a table is made of."""
        return ("rank", "code", *(["context"] if self.contexts else []), *(["number"] if len(self.barred) else []))

    @cached_property
    def width(self) -> int:
        """Words of a row of the table."""
        more = (CONTEXT_BYTES // 8 if self.contexts else 0) + (1 if len(self.barred) else 0)
        return sum(part.words for part in self.parts) + more

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
        return _places(self.plan)

    def _probes(self, targets: int, queries: int) -> ProbePlan | None:
        """The way to find these by, if it is the cheaper one. Contexts have buckets of their own already."""
        if self.probe is None or self.contexts:
            return None
        cheaper = self.probe.seconds(targets, queries) < self.plan.lookup_seconds(targets, queries)
        return self.probe if cheaper else None

    def pack(
        self,
        codes: npt.NDArray[np.uint8],
        contexts: npt.NDArray[np.uint8] | None = None,
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> Words:
        """The table of these codes: ``(n, width)``.

        Args:
            codes: ``(n, code bytes)`` uint8.
            contexts: ``(n, CONTEXT_BYTES)`` uint8, if the matcher has contexts.
            numbers: ``(n,)`` as barred pairs know the rows, 0 for those in none, if the matcher has such pairs.
        """
        packed = pack_codes(codes, self.parts)
        columns = [permute_bits(packed[self.main], self.plan.order)]
        columns += [words for i, words in enumerate(packed) if i != self.main]
        if self.contexts:
            assert contexts is not None
            columns.append(np.ascontiguousarray(contexts).view(np.uint64))
        if len(self.barred):
            assert numbers is not None
            columns.append(numbers.astype(np.uint64).reshape(-1, 1))
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
        compared = Table(table, self.spans, self.barred)
        probe = None if same or prefix else self._probes(len(targets), len(queries))
        if probe is not None:
            targets, queries = np.ascontiguousarray(targets), np.ascontiguousarray(queries)
            search_probing(compared, targets, queries, best, _places(probe), self.filter_words)
            return
        among = self._groups(table, targets)
        asking = among if same else self._groups(table, queries)
        keys = Keys(self._bands, self.plan.k, np.array(prefix, dtype=np.int64), self.deepen)
        search_groups(compared, among, asking, same, best, keys, self.filter_words)

    def _groups(self, table: Words, rows: Rows) -> Groups:
        """Rows that may have the same context, side by side: a 16-bit bucket of the context each."""
        if not self.contexts:
            return Groups(np.ascontiguousarray(rows), np.array([0, len(rows)]))
        group = (self._mixed_contexts(table, rows) >> np.uint64(64 - MAX_BAND_BITS)).astype(np.uint16)
        order = np.argsort(group, kind="stable")
        ends = np.zeros((1 << MAX_BAND_BITS) + 1, np.int64)
        np.cumsum(np.bincount(group, minlength=1 << MAX_BAND_BITS), out=ends[1:])
        return Groups(rows[order], ends)

    def _mixed_contexts(self, table: Words, rows: Rows | slice = slice(None)) -> Words:
        """A number for each row's context, of two words, whose high bits depend on all of both."""
        first = self.spans[-1, 0]
        return (table[rows, first + 1] ^ (table[rows, first] * MIX)) * MIX

    def buckets(self, table: Words, prefix: tuple[int, ...], groups: int) -> npt.NDArray[np.int64]:
        """The bucket, 0 to ``groups - 1``, of each row's context and values of these bands."""
        mixed = self._mixed_contexts(table) if self.contexts else np.zeros(len(table), dtype=np.uint64)
        for band in prefix:
            word, shift, spills, width = (int(x) for x in self._bands[band])
            values = table[:, word] >> np.uint64(shift)
            if spills:
                values |= table[:, word + 1] << np.uint64(64 - shift)
            values &= np.uint64((1 << width) - 1)
            # The band's number keeps the buckets of different bands from falling on the same tasks.
            mixed = (mixed ^ values ^ (np.uint64(band + 1) << np.uint64(40))) * MIX
        # The product's high bits depend on all bits below them, its low bits do not.
        return ((mixed >> np.uint64(32)) % np.uint64(groups)).astype(np.int64)

    def distances(self, table: Words, rows: Rows, others: Rows) -> npt.NDArray[np.int32]:
        """The reported distance, in bits, between ``rows[i]`` and ``others[i]`` of the table."""
        return distances(Table(table, self.spans, self.barred), rows, others)


def _places(plan: BandPlan | ProbePlan) -> npt.NDArray[np.int64]:
    """A plan's bands, ``(bands, 4)``: word, shift, whether it goes on in the next word, width in bits."""
    rows = [
        (start // 64, start % 64, int(start % 64 + width > 64), width)
        for start, width in zip(plan.starts, plan.widths, strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


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
    different = bit_counts(sample[:half] ^ sample[half : 2 * half])
    for count in (1, 2, 4):
        if count <= words and (different[:, :count].sum(axis=1) <= plan.threshold).mean() <= FILTER_RATE:
            return count
    return next((count for count in (4, 2, 1) if count == words), 0)
