"""A pair of hashes with wide thresholds: everything that is near in both is found, nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from near_cases import first_come_loop, make_bits, to_codes

from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.match.packed import first_come

BALANCED = (Part(128, 24), Part(256, 90, reported=False))


@pytest.mark.parametrize("kind", ["clusters", "chain", "shared_bits"])
def test_a_pair_is_the_slow_twins(kind):
    rng = np.random.default_rng(5)
    codes = to_codes([make_bits(rng, kind, 300, part.bits, part.threshold) for part in BALANCED])
    slow = first_come_loop([(i, row.tobytes(), b"") for i, row in enumerate(codes)], BALANCED)
    found = first_come(codes, None, BALANCED, 0)
    assert found is not None
    assert list(zip(found.keeper.tolist(), found.distances.tolist(), strict=True)) == [
        (slow[i][0], slow[i][2]) for i in range(len(codes))
    ]
