"""Mirrored and turned grids: each of the seven ways is a transposition, then mirrorings of rows and columns.

What is linear in the grid turns with it. A DCT's coefficients are transposed, and those of odd frequencies change their
sign where an axis is mirrored: eight hashes cost little more than one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.hashes.view_names import Turn

__all__ = ["turned", "turned_frequencies"]


def turned(grids: npt.NDArray[Any], turn: Turn) -> npt.NDArray[Any]:
    """(n, height, width) grids → the turned ones, as a view of the same memory."""
    if turn.transposed:
        grids = grids.swapaxes(1, 2)
    return grids[:, :: -1 if turn.down else 1, :: -1 if turn.across else 1]


def turned_frequencies(low: npt.NDArray[np.float64], turn: Turn) -> npt.NDArray[np.float64]:
    """(n, N, N) lowest frequencies of a DCT → those of the turned grids."""
    if turn.transposed:
        low = low.swapaxes(1, 2)
    signs = np.where(np.arange(low.shape[1]) % 2, -1.0, 1.0)
    if turn.down:
        low = low * signs[:, None]
    return low * signs if turn.across else low
