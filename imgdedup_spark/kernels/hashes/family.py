"""What every hash family offers: measure one picture at a time, hash a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["Kernel", "stacked"]


# Grids are stacked and transformed in float64 this many pixels at a time (8 MB): enough to make NumPy's
# cost for each call vanish, little enough for caches and for a worker's memory.
_PIXELS_A_STEP = 1 << 20


class Kernel(Protocol):
    """One hash of a run. Only what ``measure`` returns is kept of a picture until its batch is hashed."""

    def measure(self, picture: Picture) -> bytes:
        """All that the hash depends on: a small grid of pixels, or the hash where batching does not pay."""

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        """The hashes of a batch, as lower-case hexadecimal digits."""


def stacked(measured: Sequence[bytes], width: int, height: int) -> Iterator[npt.NDArray[np.uint16]]:
    """Grids of a batch as arrays of (n, height, width) uint16 (see ``grids``), a bounded number at a time."""
    step = max(1, _PIXELS_A_STEP // (width * height))
    for start in range(0, len(measured), step):
        part = measured[start : start + step]
        yield np.frombuffer(b"".join(part), dtype=np.uint16).reshape(len(part), height, width)
