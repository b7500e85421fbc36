"""How duplicates grow with the size of a data set: a power law through nested samples, and what it says of the whole.

Of a sample of a share f, a pair is seen whole with probability f². So the rows dropped grow as the square of the rows
where groups are small, and the less steeply the larger they are: as a power between 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Fewer dropped rows than that in the whole sample say too little.
LEAST = 10


@dataclass(frozen=True)
class Growth:
    """``dropped = scale * rows ** exponent``, and how well it fits.

    Attributes:
        r2: the share of the variation of the logarithms that it explains, weighted; 1 is a perfect fit.
        off: the largest deviation of a sample from it, as a factor (1 for none).
    """

    scale: float
    exponent: float
    r2: float
    off: float
    _spread: tuple[float, float, float]

    def at(self, rows: int) -> tuple[float, float, float]:
        """Rows dropped of so many, and the ends of the interval of 95%; not bounded by the rows themselves."""
        middle, variance, weight = self._spread
        expected = math.log(self.scale) + self.exponent * math.log(rows)
        error = 1.96 * math.sqrt(1 / weight + variance * (math.log(rows) - middle) ** 2)
        return math.exp(expected), math.exp(expected - error), math.exp(expected + error)


def fit_growth(sizes: Sequence[int], counts: Sequence[Sequence[int]]) -> Growth | None:
    """The power law through samples, by weighted least squares on logarithms; None if they hold too few duplicates.

    A count of D is taken to be off by 1/sqrt(D) of itself, as counts of rare things are, and by more where the samples
    scatter more than that. They are parts of each other, so that the interval is a rough one.

    Args:
        sizes: rows of the samples of each level, the largest first.
        counts: rows dropped in each sample of each level.
    """
    levels = [(size, sum(here), len(here)) for size, here in zip(sizes, counts, strict=True) if sum(here)]
    if len(levels) < 3 or max(total for _, total, _ in levels) < LEAST:
        return None
    x = np.log([size for size, *_ in levels])
    y = np.log([total / samples for _, total, samples in levels])
    weights = np.array([float(total) for _, total, _ in levels])
    middle, mean = np.average(x, weights=weights), np.average(y, weights=weights)
    across = float((weights * (x - middle) ** 2).sum())
    exponent = float((weights * (x - middle) * (y - mean)).sum()) / across
    left = y - mean - exponent * (x - middle)
    scatter = max(1.0, float((weights * left**2).sum()) / (len(levels) - 2))
    varied = float((weights * (y - mean) ** 2).sum())
    r2 = 1 - float((weights * left**2).sum()) / varied if varied else 1.0
    spread = (float(middle), scatter / across, float(weights.sum()) / scatter)
    return Growth(math.exp(mean - exponent * middle), exponent, r2, float(np.exp(np.abs(left).max())), spread)
