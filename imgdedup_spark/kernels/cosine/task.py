"""One task of the search for close vectors: Arrow batches in, pairs out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.kernels.arrow import floats
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.kernels.cosine.first_come import Pairs, decide
from imgdedup_spark.kernels.cosine.prefilter import Prefilter
from imgdedup_spark.kernels.cosine.rows import Float32, Matches, Rows
from imgdedup_spark.kernels.cosine.tiles import match

PAIR, HIGHEST, COMPARISONS, SEARCHED = 0, 1, 2, 3
_MATCHES = pa.schema(
    [
        ("kind", pa.int8()),
        ("query", pa.int64()),
        ("base", pa.int64()),
        ("is_reference", pa.bool_()),
        ("similarity", pa.float64()),
        ("more", pa.bool_()),
    ]
)
_NUMBERED = _MATCHES.append(pa.field("search", pa.int64()))
_DECIDED = pa.schema(
    [
        ("rank", pa.int64()),
        ("keeper", pa.int64()),
        ("is_reference", pa.bool_()),
        ("similarity", pa.float64()),
        ("cursor", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Search:
    """What a task needs to know to find the pairs among its rows.

    Attributes:
        dims: of the vectors.
        similarity: the least cosine of a match.
        prefilter: see :class:`Prefilter`.
        want_max: also find each item's highest cosine.
        images: of each row.
        cap: neighbours to find for a row in one task; eight decide nearly every row in the first search.
        spare: how many more, because so many may not count.
    """

    dims: int
    similarity: float
    prefilter: Prefilter
    want_max: bool
    images: int = 1
    cap: int = 8
    spare: int = 0

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The function of ``mapInArrow``: columns task, segment, block, is_reference, rank, cursor, vector,
        background."""
        table = [batch for batch in batches if batch.num_rows]
        if not table:
            return
        vectors = np.concatenate([floats(batch.column("vector"), self.dims) for batch in table])
        task, segment, block, rank, cursor = (
            np.concatenate([batch.column(name).to_numpy() for batch in table])
            for name in ("task", "segment", "block", "rank", "cursor")
        )
        is_reference = np.concatenate([batch.column("is_reference").to_numpy(zero_copy_only=False) for batch in table])
        background = np.concatenate([_or_zeros(batch.column("background"), self.images) for batch in table])
        del table
        rows = Rows(vectors, block, is_reference, rank, cursor, background)
        for one in np.unique(task):
            here = np.flatnonzero(task == one)
            for matches in self._task(rows, here, segment[here]):
                yield from _as_batches(matches)

    def _task(self, rows: Rows, here: np.ndarray, segment: np.ndarray) -> Iterator[Matches]:
        """All pairs within a task's one segment, or all pairs between its two, in both orders."""
        parts = [rows.take(here[segment == s], sort=True) for s in np.unique(segment)]
        queries = [part.queries() for part in parts]
        for base, query in [(0, 0)] if len(parts) == 1 else [(0, 1), (1, 0)]:
            if len(queries[query].rank):
                yield match(
                    parts[base],
                    queries[query],
                    self.similarity,
                    prefilter=self.prefilter,
                    cap=self.cap,
                    want_max=self.want_max,
                    spare=self.spare,
                )


def _or_zeros(background: pa.Array, images: int) -> Float32:
    """(n, images): of rows that have none, and of references, zeros."""
    return floats(background.fill_null(bytes(4 * images)), images)


def _as_batches(matches: Matches) -> Iterator[pa.RecordBatch]:
    def batch(kind: int, query: Any, base: Any, is_reference: Any, similarity: Any, more: Any) -> pa.RecordBatch:
        columns = [np.full(len(query), kind, np.int8), query, base, is_reference, similarity, more]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _MATCHES, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=_MATCHES)

    yield batch(PAIR, matches.query, matches.base, matches.is_reference, matches.similarity, matches.more)
    highest, none = matches.highest_rank, np.zeros(len(matches.highest_rank), np.int64)
    yield batch(HIGHEST, highest, none, none.astype(bool), matches.highest.astype(float), none.astype(bool))
    count = np.array([matches.comparisons])
    yield batch(COMPARISONS, count * 0, count, count < 0, count * 0.0, count < 0)


def decide_partition(excluded: Exclusions, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches(list(batches) or [pa.RecordBatch.from_pylist([], _NUMBERED)])
    searched = table.filter(pc.equal(table["kind"], SEARCHED))
    table = table.filter(pc.equal(table["kind"], PAIR))
    names = ("query", "base", "is_reference", "similarity", "more", "search")
    pairs = Pairs(*(table[name].to_numpy() for name in names))
    decisions = decide(
        pairs,
        searched["query"].to_numpy(),
        searched["search"].to_numpy(),
        excluded.of(pairs.query, pairs.base, pairs.is_reference),
    )
    dropped, asks = len(decisions.rank), len(decisions.asks)
    yield pa.RecordBatch.from_arrays(
        [
            pa.array(np.concatenate([decisions.rank, decisions.asks])),
            pa.array(decisions.keeper.tolist() + [None] * asks, pa.int64()),
            pa.array(np.concatenate([decisions.is_reference, np.zeros(asks, bool)])),
            pa.array(np.concatenate([decisions.similarity, np.zeros(asks)])),
            pa.array([None] * dropped + decisions.cursor.tolist(), pa.int64()),
        ],
        schema=_DECIDED,
    )


def read_vectors(batches: Iterable[pa.RecordBatch], dims: int) -> Float32:
    """(n, dims) float32 vectors of the columns ``rank`` and ``vector``, shuffled in a way fixed by the ranks."""
    table = [batch for batch in batches if batch.num_rows]
    if not table:
        return np.zeros((0, dims), np.float32)
    order = np.argsort(np.concatenate([batch.column("rank").to_numpy() for batch in table]))
    order = order[np.random.default_rng(0).permutation(len(order))]
    return np.concatenate([floats(batch.column("vector"), dims) for batch in table])[order]
