"""Blocking beyond the reach of all-pairs: cells around centroids, several for each vector. Pure NumPy.

Every vector goes into the ``probes`` cells whose centroids are nearest, and only vectors that share a cell are
compared. That finds a close pair unless all of their nearest cells differ: recall is a matter of the number of probes.
It is measured on a sample of the data at hand (:func:`probes_needed`), never assumed. (Cells around centroids as in the
inverted files of Sivic and Zisserman, "Video Google", 2003, here with both sides of a pair in several cells.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgdedup_spark.kernels.cosine.rows import TILE_ROWS, Float32

__all__ = [
    "MAX_PROBES",
    "SAMPLE_PER_CELL",
    "Cells",
    "cell_count",
    "choose_probes",
    "fit_cells",
    "probes_needed",
    "synthetic_neighbours",
]
Int32 = NDArray[np.int32]
# Cells computed for each vector; the measurement chooses how many of them to use.
MAX_PROBES = 16
# A handful of rounds bring k-means near enough: cells only need to be compact, not best.
_ROUNDS = 6
SAMPLE_PER_CELL = 24
# Half of the queries of the sample choose the number of probes, half of them say what recall it has.
# What the choosing half must reach, so that the other half, a sample too, does not fall below the goal.
_AIM = 0.994
_GOAL = 0.99
# With fewer real pairs than this in the choosing half, made ones at the threshold have a say.
_ENOUGH_PAIRS = 500


def cell_count(vectors: int) -> int:
    """How many cells: 2 sqrt(n), where going through the centroids costs about what comparing inside cells does.

    At most 8,192, so that one worker holds the sample that k-means needs (400 MB for 512 dimensions).
    """
    return int(min(max(2 * np.sqrt(vectors), 16), 8192))


@dataclass(frozen=True)
class Cells:
    """Attributes:
    centroids: (k, d) float32 of length 1.
    """

    centroids: Float32

    def nearest(self, vectors: Float32, probes: int = MAX_PROBES) -> Int32:
        """(n, probes) int32: each vector's cells, nearest first."""
        probes = min(probes, len(self.centroids))
        found = np.empty((len(vectors), probes), np.int32)
        for start in range(0, len(vectors), TILE_ROWS):
            part = vectors[start : start + TILE_ROWS]
            if len(part) < TILE_ROWS:
                # Products of other shapes round differently; a vector's cells shall not depend on its batch.
                part = np.concatenate([part, np.zeros((TILE_ROWS - len(part), part.shape[1]), np.float32)])
            closeness = part @ self.centroids.T
            best = np.argpartition(closeness, -probes, axis=1)[:, -probes:]
            order = np.argsort(-np.take_along_axis(closeness, best, axis=1), axis=1, kind="stable")
            nearest = np.take_along_axis(best, order, axis=1)
            found[start : start + TILE_ROWS] = nearest[: len(vectors) - start]
        return found


def fit_cells(sample: Float32, count: int) -> Cells:
    """Spherical k-means (Dhillon and Modha, 2001) from a fixed start.

    Args:
        sample: (m, d) float32 vectors of length 1, in random order.
        count: of cells; fewer if the sample is smaller.
    """
    centroids = sample[:count].copy()
    for _ in range(_ROUNDS):
        cell = Cells(centroids).nearest(sample, 1)[:, 0]
        order = np.argsort(cell, kind="stable")
        used, start = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(sample[order], start, axis=0, dtype=np.float64)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        # A cell without members, or whose members cancel out, keeps its centroid.
        moved = length[:, 0] > 1e-6
        centroids[used[moved]] = (sums[moved] / length[moved]).astype(np.float32)
    return Cells(centroids)


def probes_needed(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """(m,) int64: with how many probes two vectors first share a cell; their number + 1 if with none of them.

    Args:
        a, b: (m, probes) cells of the two vectors of each pair, nearest first.
    """
    probes = a.shape[1]
    needed = np.full(len(a), probes + 1, np.int64)
    for i in range(probes):
        for j in range(probes):
            needed[a[:, i] == b[:, j]] = np.minimum(needed[a[:, i] == b[:, j]], max(i, j) + 1)
    return needed


def synthetic_neighbours(vectors: Float32, similarity: NDArray[np.float64]) -> Float32:
    """(n, d) float32: for each vector one at a cosine of exactly its ``similarity``, towards another one of them.

    The hardest pairs that must be found, for data with too few real ones to measure recall on. Towards another vector
    and not anywhere, because close pictures differ in the directions in which pictures differ.
    """
    other = np.roll(vectors, 1, axis=0).astype(np.float64)
    own = vectors.astype(np.float64)
    across = other - np.einsum("ij,ij->i", own, other)[:, None] * own
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across /= np.where(length > 1e-6, length, 1.0)
    share = np.clip(similarity, -1.0, 1.0)[:, None]
    return (share * own + np.sqrt(1 - share**2) * across).astype(np.float32)


def choose_probes(needed: NDArray[np.int64], made_needed: NDArray[np.int64]) -> dict[str, Any]:
    """The least number of probes that finds enough, and the recall it has on the half that did not choose it.

    Args:
        needed: (queries, probes + 1) int64; how many close rows of each query are found first with 1, 2, … probes, and
            with none.
        made_needed: (n,) int64 :func:`probes_needed` of made pairs at the threshold.

    Returns:
        ``probes``, ``recall``, ``recall_pairs``, ``recall_queries``, ``recall_at_threshold`` and maybe
        ``recall_warning``, as ``match.by_cosine.cells`` describes them.
    """
    probes = np.arange(1, needed.shape[1])
    made = np.array([np.mean(made_needed <= p) for p in probes]) if len(made_needed) else np.ones(len(probes))
    choosing, measuring = recall_of(needed[::2]), recall_of(needed[1::2])
    enough = choosing >= _AIM
    if needed[::2].sum() < _ENOUGH_PAIRS:
        enough &= made >= _AIM
    enough &= measuring >= _GOAL
    chosen = int(np.argmax(enough)) if enough.any() else len(probes) - 1
    pairs = int(needed[1::2].sum())
    recall = round(float(measuring[chosen]), 5) if pairs else None
    report: dict[str, Any] = {
        "probes": int(probes[chosen]),
        "recall": recall,
        "recall_pairs": pairs,
        "recall_queries": len(needed[1::2]),
        "recall_at_threshold": round(float(made[chosen]), 5),
    }
    if not enough.any():
        worst = min(float(x[chosen]) for x in (choosing, measuring, made))
        report["recall_warning"] = (
            f"{len(probes)} cells a vector find {worst:.4f} of the close pairs, less than {_GOAL}"
        )
    return report


def recall_of(needed: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each number of probes the lower of two means: over pairs, and over queries that have any."""
    found = np.cumsum(needed, axis=1)
    total = found[:, -1]
    some = total > 0
    if not some.any():
        return np.ones(needed.shape[1] - 1)
    at = found[some][:, :-1]
    over_pairs = at.sum(axis=0) / total[some].sum()
    over_queries = (at / total[some][:, None]).mean(axis=0)
    return np.minimum(over_pairs, over_queries)
