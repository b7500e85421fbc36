"""How well a deduplication does, measured by what is known to be copies: NumPy alone.

Both the truth and a run cut the rows into groups. A *pair* is two rows of one group: recall is the share of the true
pairs that the run has in one group, precision the share of the run's pairs that are true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_RESAMPLED = 400


@dataclass(frozen=True)
class Truth:
    """Attributes:
    groups: (n,) the group of each row, numbered from 0; a row that is a copy of none is a group by itself.
    kinds: by kind, (m, 2) rows of the pairs that are of it.
    """

    groups: Labels
    kinds: Mapping[str, Labels] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        sizes = np.bincount(self.groups)
        return int((sizes * (sizes - 1) // 2).sum())

    def halves(self) -> npt.NDArray[np.bool_]:
        """(groups,) always the same half of the groups of each sort, those of several rows and the others."""
        sizes = np.bincount(self.groups)
        half = np.zeros(len(sizes), bool)
        for some in (np.flatnonzero(sizes > 1), np.flatnonzero(sizes == 1)):
            half[np.random.default_rng(0).permutation(some)[::2]] = True
        return half


@dataclass(frozen=True)
class Share:
    """A share and the ends of its interval of 95%; None where there is nothing to take a share of."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def entry(self) -> list[float | None]:
        return [None if one is None else round(one, 6) for one in (self.value, self.low, self.high)]


@dataclass(frozen=True)
class Score:
    """One run against the truth.

    Attributes:
        found, missed: true pairs.
        false: pairs of the run that are none.
        kinds: recall by kind.
    """

    found: int
    missed: int
    false: int
    recall: Share
    precision: Share
    f1: Share
    kinds: Mapping[str, Share]

    def entry(self) -> dict[str, Any]:
        """For JSON: shares as value, low, high."""
        shares = {name: getattr(self, name).entry() for name in ("recall", "precision", "f1")}
        kinds = {"kinds": {name: one.entry() for name, one in self.kinds.items()}} if self.kinds else {}
        return {"found": self.found, "missed": self.missed, "false": self.false, **shares, **kinds}


@dataclass(frozen=True)
class _Counts:
    """Pairs by group of the truth; a false pair counts half in each of its two groups."""

    found: Floats
    true: Floats
    false: Floats


def score(truth: Truth, run: Labels, half: npt.NDArray[np.bool_] | None = None) -> Score:
    """Args:
    run: (n,) the run's group of each row.
    half: (groups,) the groups that count; all, if not given. Of pairs, both groups must.
    """
    rows = np.ones(len(run), bool) if half is None else half[truth.groups]
    counts = _count(truth.groups[rows], run[rows], int(truth.groups.max(initial=-1)) + 1)
    some = np.flatnonzero((counts.true > 0) | (counts.false > 0))
    weights = np.random.default_rng(0).poisson(1.0, (_RESAMPLED, len(some))).astype(np.float64)
    found, true, false = (
        np.concatenate([[one.sum()], weights @ one[some]]) for one in (counts.found, counts.true, counts.false)
    )
    kinds = {}
    for name, pairs in truth.kinds.items():
        inside = pairs[rows[pairs].all(axis=1)] if len(pairs) else pairs
        kinds[name] = _recall_of(inside, truth.groups, run)
    return Score(
        round(found[0]),
        round(true[0] - found[0]),
        round(false[0]),
        _share(found, true),
        _share(found, found + false),
        _share(2 * found, true + found + false),
        kinds,
    )


def _count(groups: Labels, run: Labels, count: int) -> _Counts:
    _, run = np.unique(run, return_inverse=True)
    cells, sizes = np.unique(np.stack([groups, run], axis=1), axis=0, return_counts=True)
    group, other = cells[:, 0], cells[:, 1]
    run_sizes, group_sizes = np.bincount(run), np.bincount(groups, minlength=count)
    found, false = (
        np.bincount(group, pairs / 2, count).astype(np.float64)
        for pairs in (sizes * (sizes - 1), sizes * (run_sizes[other] - sizes))
    )
    return _Counts(found, group_sizes * (group_sizes - 1) / 2, false)


def _recall_of(pairs: Labels, groups: Labels, run: Labels) -> Share:
    if not len(pairs):
        return Share(None)
    _, group = np.unique(groups[pairs[:, 0]], return_inverse=True)
    hit = run[pairs[:, 0]] == run[pairs[:, 1]]
    found, true = np.bincount(group, hit), np.bincount(group).astype(np.float64)
    weights = np.random.default_rng(0).poisson(1.0, (_RESAMPLED, len(true))).astype(np.float64)
    return _share(*(np.concatenate([[one.sum()], weights @ one]) for one in (found, true)))


def _share(some: Floats, of: Floats) -> Share:
    """Of sums, the first as they are and the others resampled (bootstrap over groups)."""
    if not of[0]:
        return Share(None)
    again = some[1:][of[1:] > 0] / of[1:][of[1:] > 0]
    low, high = np.quantile(again, [0.025, 0.975]) if len(again) else (0.0, 1.0)
    return Share(float(some[0] / of[0]), float(low), float(high))


def best(scores: Mapping[float, Score]) -> float:
    """The threshold of the highest F1, of equal ones the first."""
    return max(scores, key=lambda one: scores[one].f1.value or 0.0)


def joined(count: int, pairs: Labels) -> Labels:
    """(count,) groups of what pairs hold together, numbered from 0 as they first appear.

    Args:
        pairs: (m, 2) numbers below ``count``.
    """
    group = np.arange(count)
    if len(pairs):
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        while True:
            # Everybody takes the least number that one of its pairs has, and that one's.
            before = group.copy()
            least = np.minimum(group[low], group[high])
            np.minimum.at(group, low, least)
            np.minimum.at(group, high, least)
            group = np.minimum(group, group[group])
            if (group == before).all():
                break
    return np.unique(group, return_inverse=True)[1].astype(np.int64)
