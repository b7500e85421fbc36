"""Growth of duplicates: the law that is known, of data that are made."""

from __future__ import annotations

import numpy as np
import pytest

from imgdedup_spark.report.growth import fit_growth

ROWS, SAMPLE = 400_000, 20_000


def dropped(groups):
    return len(groups) - len(np.unique(groups))


def levels(rng, groups):
    sample = rng.permutation(groups)[:SAMPLE]
    sizes = [SAMPLE >> level for level in range(4)]
    return sizes, [
        [dropped(sample)],
        *([dropped(sample[part :: 1 << level]) for part in (0, 1)] for level in (1, 2, 3)),
    ]


@pytest.mark.parametrize(("size", "low", "high"), [(2, 1.8, 2.2), (20_000, 0.99, 1.1)])
def test_small_groups_grow_as_the_square_and_large_ones_as_the_rows(size, low, high):
    """Half of all rows are in groups of one size."""
    rng = np.random.default_rng(size)
    groups = np.concatenate([np.arange(ROWS // 2) // size, np.arange(ROWS // 2) + ROWS])
    inside = 0
    for _ in range(20):
        growth = fit_growth(*levels(rng, groups))
        assert growth is not None and low < growth.exponent < high and growth.r2 > 0.9
        expected, least, most = growth.at(ROWS)
        assert least < expected <= most
        inside += least <= dropped(groups) <= most
    assert inside >= 15  # the interval is a rough one, and says so


def test_too_few_say_nothing():
    assert fit_growth([800, 400, 200, 100], [[9], [3, 2], [1, 1], [0, 0]]) is None
    assert fit_growth([800, 400, 200, 100], [[90], [1, 0], [0, 0], [0, 0]]) is None


def test_a_perfect_law():
    growth = fit_growth([8000, 4000, 2000], [[6000], [1500, 1500], [375, 375]])
    assert growth is not None and growth.exponent == pytest.approx(2) and growth.r2 == pytest.approx(1)
    assert growth.at(16_000)[0] == pytest.approx(24_000)
