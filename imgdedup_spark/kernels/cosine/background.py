"""Score normalisation: what a picture has in common with pictures that nothing is a copy of.

Some pictures (a logo, a page of text) are rather near to very many; a cosine that means a copy elsewhere means nothing
of them. So what a picture's cosines with a *background set* come to is taken off its cosines with the others: the mean
of the three highest, as published with the descriptor.
(Pizzi, Roy, Ravindra, Goyal and Douze, "A Self-Supervised Descriptor for Image Copy Detection", CVPR 2022, with the
weight and the neighbours of its published evaluation on DISC.)
"""

from __future__ import annotations

import numpy as np

from imgdedup_spark.kernels.cosine.rows import Float32, Float64, compiled, dot64

#: How many of the nearest count.
NEAREST = 3
#: Of one product: 20 MB with the largest background.
_ROWS = 256


def in_common(vectors: Float32, background: Float32) -> Float32:
    """(n,) float32: the mean of each vector's highest cosines with the background.

    Args:
        vectors: (n, d) of length 1.
        background: (k, d) of length 1, with k > 0.
    """
    found = np.zeros((len(vectors), min(NEAREST, len(background))))
    for start in range(0, len(vectors), _ROWS):
        part = slice(start, start + _ROWS)
        _highest(vectors[part] @ background.T, vectors[part], background, found[part])
    return found.mean(axis=1).astype(np.float32)


@compiled
def _highest(cosines: Float32, vectors: Float32, background: Float32, found: Float64) -> None:
    """Fills ``found`` with the highest cosines of each row, rising. Those that may be among them are computed anew,
    because the last bits of a product depend on what stands beside it."""
    for r in range(len(cosines)):
        found[r] = -2.0
        for c in range(cosines.shape[1]):
            _insert(found[r], np.float64(cosines[r, c]))
        least = found[r, 0] - 4e-6
        found[r] = -2.0
        for c in range(cosines.shape[1]):
            if cosines[r, c] >= least:
                _insert(found[r], dot64(vectors[r], background[c]))


@compiled
def _insert(highest: Float64, value: float) -> None:
    """Puts a value into a rising list, whose least one falls out."""
    if value <= highest[0]:
        return
    place = 0
    while place + 1 < len(highest) and highest[place + 1] < value:
        highest[place] = highest[place + 1]
        place += 1
    highest[place] = value
