"""Distances between rows of ``hashes/``: of one row to all, and the closest pairs among the rows that stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.config.sections import EMBEDDINGS
from imgdedup_spark.kernels.hamming.bits import bit_counts
from imgdedup_spark.kernels.hamming.closest import closest
from imgdedup_spark.kernels.hashes import METHODS, HashSpec
from imgdedup_spark.report.outcome import Outcome

#: Comparisons that the search for close pairs may take: about a second.
_MOST_COMPARED = 1 << 28
_MOST_QUERIES = 4096


@dataclass(frozen=True)
class Near:
    """Two rows of ``Outcome.hashes``, by number, and their distance: bits, or 1 − cosine."""

    row: int
    other: int
    distance: float


class Distances:
    """Distances between the rows of an outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self._keepers = outcome.keepers
        self._parts = list(_comparable(outcome))

    def nearest_to(self, row: int, count: int = 5) -> list[Near]:
        """The rows nearest to a row, nearest first, of those that were not dropped and may match it (as many images,
        the same text)."""
        wanted = self._keepers.copy()
        wanted[row] = False
        for part in self._parts:
            at = part.places(np.array([row]))
            if not len(at):
                continue
            some = np.flatnonzero(wanted[part.rows] & (part.texts == part.texts[at]))
            found = _distances(part.values[some], part.values[at[0]])
            order = np.argsort(found, kind="stable")[:count]
            return [Near(row, int(part.rows[some[one]]), found[one].item()) for one in order]
        return []

    def spread(self, rows: np.ndarray) -> float:
        """The largest distance between any two of the rows; 0 where they cannot be compared."""
        widest = 0.0
        for part in self._parts:
            some = part.values[part.places(rows)]
            widest = max([widest, *(float(_distances(some, one).max()) for one in some)])
        return widest

    def closest_pairs(self, count: int, among: np.ndarray) -> Closest:
        """The closest pairs of rows that were both kept, closest first, each row in one pair at most.

        Args:
            among: (all rows,) bool, the rows to look at.
        """
        found: list[Near] = []
        asked = there = 0
        for part in self._parts:
            kept = part.of(self._keepers & among)
            most = min(_MOST_QUERIES, _MOST_COMPARED // max(1, len(kept.rows) * kept.values[:1].size))
            # Always the same ones, and no stretch of the input.
            queries = np.sort(np.random.default_rng(0).permutation(len(kept.rows))[:most])
            asked, there = asked + len(queries), there + len(kept.rows)
            partners, distances = _closest(kept, queries)
            known = partners >= 0
            pairs = zip(kept.rows[queries[known]], kept.rows[partners[known]], distances[known], strict=True)
            found += [Near(int(a), int(b), distance.item()) for a, b, distance in pairs]
        chosen: list[Near] = []
        taken: set[int] = set()
        for one in sorted(found, key=lambda one: (one.distance, one.row)):
            if len(chosen) < count and not {one.row, one.other} & taken:
                chosen.append(one)
                taken |= {one.row, one.other}
        return Closest(tuple(chosen), asked, there)


@dataclass(frozen=True)
class Closest:
    """Pairs, and how many rows were compared with all others for them, of how many."""

    pairs: tuple[Near, ...] = ()
    asked: int = 0
    there: int = 0


@dataclass(frozen=True)
class _Part:
    """Rows that distances can be told between: of equally many images.

    Attributes:
        rows: (n,) their numbers, ascending.
        values: ``(n, images, words)`` hashes, or ``(n, dimensions)`` vectors of length 1.
        texts: (n,) equal where the rows' texts are; only such rows match.
    """

    rows: np.ndarray
    values: np.ndarray
    texts: np.ndarray

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where those of the rows that are here stand here."""
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return at[self.rows[at] == rows]

    def of(self, wanted: np.ndarray) -> _Part:
        """Args:
        wanted: (all rows,) bool.
        """
        here = wanted[self.rows]
        return _Part(self.rows[here], self.values[here], self.texts[here])


def _closest(part: _Part, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, texts = part.values, part.texts
    if values.dtype == np.uint64:
        return closest(values, texts, queries)
    partners, distances = np.full(len(queries), -1), np.zeros(len(queries), np.float32)
    for at, query in enumerate(queries):
        found = np.where(texts == texts[query], _distances(values, values[query]), np.inf)
        found[query] = np.inf
        partner = int(found.argmin())
        if np.isfinite(found[partner]):
            partners[at], distances[at] = partner, found[partner]
    return partners, distances


def _distances(values: np.ndarray, one: np.ndarray) -> np.ndarray:
    """(n,) the distance of each to one: the largest of the images' in bits, or 1 − cosine."""
    if values.dtype == np.uint64:
        return bit_counts(values ^ one).sum(axis=-1).max(axis=-1, initial=0)
    return np.maximum(1 - values @ one, 0)


def _comparable(outcome: Outcome) -> Iterator[_Part]:
    hashes, step = outcome.hashes, outcome.step
    texts = np.asarray(pc.fill_null(hashes.column("texthash").combine_chunks().dictionary_encode().indices, -1))
    if step.get("method") in EMBEDDINGS:
        if "embedding" in hashes.column_names:
            yield from _vectors(hashes.column("embedding").combine_chunks(), texts)
        return
    spec = HashSpec(step.get("method", "phash"), step.get("hash_size", 8))
    if not step.get("hash_col") and (spec.method not in METHODS or not spec.near):
        return
    column = hashes.column("imagehash").combine_chunks()
    lengths = np.asarray(pc.fill_null(pc.utf8_length(column), 0))
    for length in np.unique(lengths[lengths > 0]):
        digits = spec.digits if spec.digits and not step.get("hash_col") else int(length)
        if length % digits == 0:
            rows = np.flatnonzero(lengths == length)
            yield _Part(rows, _words(column.take(pa.array(rows)), int(length), digits), texts[rows])


def _words(column: pa.Array, length: int, digits: int) -> np.ndarray:
    """Hashes of ``length`` hex digits, ``digits`` an image → ``(n, images, words)``."""
    text = np.frombuffer("".join(column.to_pylist()).encode(), np.uint8).reshape(-1, digits)
    padded = np.full((len(text), -(-digits // 16) * 16), ord("0"), np.uint8)
    padded[:, :digits] = text
    packed = np.frombuffer(bytes.fromhex(padded.tobytes().decode()), np.uint64)
    return packed.reshape(len(column), length // digits, -1)


def _vectors(column: pa.Array, texts: np.ndarray) -> Iterator[_Part]:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        values = np.asarray(column.take(pa.array(rows)).flatten(), np.float32).reshape(-1, int(length))
        yield _Part(rows, values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), texts[rows])
