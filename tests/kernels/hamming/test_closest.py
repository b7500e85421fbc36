import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imgdedup_spark.kernels.hamming.closest import closest


def by_loops(words, keys, query):
    best, distance = -1, 1 << 30
    for other in range(len(words)):
        if other != query and keys[other] == keys[query]:
            bits = max(sum((int(x) ^ int(y)).bit_count() for x, y in zip(*two, strict=True))
                       for two in zip(words[query], words[other], strict=True))  # fmt: skip
            if bits < distance:
                best, distance = other, bits
    return best, distance


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 3), st.integers(1, 2))
def test_closest_is_what_loops_find(seed, rows, images, width):
    dice = np.random.default_rng(seed)
    words = dice.integers(0, 2**63, (rows, images, width), dtype=np.uint64) & np.uint64(0xFF00FF)
    keys = dice.integers(0, 2, rows)
    partners, distances = closest(words, keys, np.arange(rows))
    assert list(zip(partners.tolist(), distances.tolist(), strict=True)) == [
        by_loops(words, keys, query) for query in range(rows)
    ]
