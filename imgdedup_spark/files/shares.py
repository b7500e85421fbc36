"""Shares of files: which rows one task reads or copies, and how much goes together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from imgdedup_spark.errors import CopyMismatch

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Consecutive rows of one file.

    Attributes:
        uri: the file, as a plain URI.
        first_row: number of the first row in its file, from 0.
        rows: how many rows.
        start, length: in bytes, for text: the lines that begin at a byte b with ``start < b <= start + length``, and
            the file's first line if ``start`` is 0. For Parquet, whose shares are whole row groups, ``length`` is about
            their bytes.
    """

    uri: str
    first_row: int
    rows: int
    start: int = 0
    length: int = 0


def kept_masks(shares: Sequence[Share], dropped: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each share (rows,) bool: which rows stay when those of these numbers in the file are left out.

    Raises:
        CopyMismatch: a number lies outside of its share.
    """
    masks = []
    for share, rows in zip(shares, dropped, strict=True):
        places = np.asarray(rows, np.int64) - share.first_row
        if ((places < 0) | (places >= share.rows)).any():
            raise CopyMismatch(f"{share.uri}: a dropped row is not among the {share.rows} from row {share.first_row}")
        mask = np.ones(share.rows, bool)
        mask[places] = False
        masks.append(mask)
    return masks


def grouped(items: Iterable[T], size_of: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Consecutive items in groups of at most ``most`` together; a larger item is a group of its own."""
    group: list[T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if group and total + size > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield group
