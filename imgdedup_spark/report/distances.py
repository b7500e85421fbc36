"""Distances between rows of ``hashes/``: of one row to all, and the closest pairs among the rows that stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.config.sections import EMBEDDING
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


def nearest_to(outcome: Outcome, row: int, count: int = 5, *, among: np.ndarray | None = None) -> list[Near]:
    """The rows nearest to a row, nearest first, of those that may match it (as many images, the same text).

    Args:
        among: (n,) bool, the rows to look at; None for all that were not dropped.
    """
    wanted = (outcome.keepers if among is None else among).copy()
    wanted[row] = False
    for rows, values, keys in _comparable(outcome):
        at = np.searchsorted(rows, row)
        if at == len(rows) or rows[at] != row:
            continue
        some = np.flatnonzero(wanted[rows] & (keys == keys[at]))
        found = _distances(values[some], values[at])
        order = np.argsort(found, kind="stable")[:count]
        return [Near(row, int(rows[some[one]]), found[one].item()) for one in order]
    return []


def spread(outcome: Outcome, members: np.ndarray) -> float:
    """The largest distance between any two of the rows; 0 where they cannot be compared."""
    widest = 0.0
    chosen = np.zeros(len(outcome.ids), bool)
    chosen[members] = True
    for rows, values, _ in _comparable(outcome):
        some = values[chosen[rows]]
        for one in some:
            widest = max(widest, float(_distances(some, one).max()))
    return widest


def closest_pairs(outcome: Outcome, count: int = 12) -> tuple[list[Near], int, int]:
    """The closest pairs of rows that were both kept, closest first, each row in one pair at most.

    Returns:
        the pairs; how many rows were compared with all others; and how many there are.
    """
    found: list[Near] = []
    asked = there = 0
    for rows, values, keys in _comparable(outcome):
        stay = outcome.keepers[rows]
        rows, values, keys = rows[stay], values[stay], keys[stay]
        most = min(_MOST_QUERIES, _MOST_COMPARED // max(1, len(rows) * values[:1].size))
        # Always the same ones, and no stretch of the input.
        queries = np.sort(np.random.default_rng(0).permutation(len(rows))[:most])
        asked, there = asked + len(queries), there + len(rows)
        partners, distances = _closest(values, keys, queries)
        known = partners >= 0
        pairs = zip(queries[known], partners[known], distances[known], strict=True)
        found += [Near(int(rows[a]), int(rows[b]), distance.item()) for a, b, distance in pairs]
    chosen: list[Near] = []
    taken: set[int] = set()
    for one in sorted(found, key=lambda one: (one.distance, one.row)):
        if len(chosen) < count and not {one.row, one.other} & taken:
            chosen.append(one)
            taken |= {one.row, one.other}
    return chosen, asked, there


def _closest(values: np.ndarray, keys: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if values.dtype == np.uint64:
        return closest(values, keys, queries)
    partners, distances = np.full(len(queries), -1), np.zeros(len(queries), np.float32)
    for at, query in enumerate(queries):
        found = np.where(keys == keys[query], _distances(values, values[query]), np.inf)
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


def _comparable(outcome: Outcome) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows that distances can be told between, in parts of equally many images: their numbers, ascending; ``(n,
    images, words)`` hashes or ``(n, dimensions)`` vectors of length 1; and a key that is equal where texts are."""
    hashes, step = outcome.hashes, outcome.step
    texts = np.asarray(pc.fill_null(hashes.column("texthash").combine_chunks().dictionary_encode().indices, -1))
    if step.get("method") == EMBEDDING:
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
            yield rows, _words(column.take(pa.array(rows)), int(length), digits), texts[rows]


def _words(column: pa.Array, length: int, digits: int) -> np.ndarray:
    """Hashes of ``length`` hex digits, ``digits`` an image → ``(n, images, words)``."""
    text = np.frombuffer("".join(column.to_pylist()).encode(), np.uint8).reshape(-1, digits)
    padded = np.full((len(text), -(-digits // 16) * 16), ord("0"), np.uint8)
    padded[:, :digits] = text
    packed = np.frombuffer(bytes.fromhex(padded.tobytes().decode()), np.uint64)
    return packed.reshape(len(column), length // digits, -1)


def _vectors(column: pa.Array, texts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        values = np.asarray(column.take(pa.array(rows)).flatten(), np.float32).reshape(-1, int(length))
        yield rows, values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), texts[rows]
