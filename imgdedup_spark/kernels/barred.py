"""Pairs of rows that never match, whatever is in them.

Few rows are in such pairs. Those have a number from 1 on, which is the same for all rows of one id; all others have 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

#: ``(m,)`` pairs of numbers, each packed into one, ascending.
Barred = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int64]
NOT_BARRED: Barred = np.zeros(0, dtype=np.int64)


def pack_pairs(pairs: Ints) -> Barred:
    """Args:
    pairs: ``(m, 2)`` numbers from 1 to 2³¹.
    """
    return np.unique((pairs.min(axis=1) << 32) | pairs.max(axis=1))


def are_barred(barred: Barred, one: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """``(n,)`` whether the rows with these numbers never match. Compiled code asks ``hamming.compare.match``."""
    return np.isin((np.minimum(one, other) << 32) | np.maximum(one, other), barred)


@dataclass(frozen=True)
class Numbers:
    """The numbers of rows, as far as they are not 0.

    Attributes:
        ranks: (k,) ascending.
        numbers: (k,).
    """

    ranks: Ints = field(default_factory=lambda: NOT_BARRED)
    numbers: Ints = field(default_factory=lambda: NOT_BARRED)

    def of(self, ranks: Ints) -> Ints:
        """``(n,)`` the numbers of the rows with these ranks."""
        if not len(self.ranks):
            return np.zeros(len(ranks), dtype=np.int64)
        at = np.minimum(np.searchsorted(self.ranks, ranks), len(self.ranks) - 1)
        return np.where(self.ranks[at] == ranks, self.numbers[at], 0)


@dataclass(frozen=True)
class Exclusions:
    """Barred pairs of a run: of its rows with each other, and with references, which have ranks of their own.

    Attributes:
        rows: by their number in the input, or by rank.
        references: by rank.
    """

    barred: Barred = field(default_factory=lambda: NOT_BARRED)
    rows: Numbers = field(default_factory=Numbers)
    references: Numbers = field(default_factory=Numbers)

    def most_references(self) -> int:
        """How many references never match one row, at most."""
        if not len(self.barred):
            return 0
        one, other = self.barred >> 32, self.barred & 0xFFFFFFFF
        size = int(max(one.max(), other.max(), self.references.numbers.max(initial=0))) + 1
        here = np.bincount(self.references.numbers, minlength=size)
        partners = np.bincount(one, here[other], size) + np.bincount(other, here[one], size)
        return int(partners.max())

    def of(self, row: Ints, other: Ints, is_reference: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """``(n,)`` whether these rows never match the others."""
        if not len(self.barred):
            return np.zeros(len(row), dtype=np.bool_)
        number = np.where(is_reference, self.references.of(other), self.rows.of(other))
        return are_barred(self.barred, self.rows.of(row), number)


def first_come_of_equals(keys: Ints, numbers: Ints, references: int, barred: Barred) -> Ints:
    """``(n,)`` who stands for each, its own place if it is kept, where equal keys match.

    Args:
        keys, numbers: (n,) in keep order; the first so many ``references`` are all kept.
    """
    pairs = set(barred.tolist())
    kept: dict[int, list[tuple[int, int]]] = {}
    keeper = np.arange(len(keys))
    for place, (key, number) in enumerate(zip(keys.tolist(), numbers.tolist(), strict=True)):
        before = kept.setdefault(key, [])
        if place >= references:
            matching = (at for at, other in before if (min(number, other) << 32) | max(number, other) not in pairs)
            keeper[place] = next(matching, place)
        if keeper[place] == place:
            before.append((place, number))
    return keeper
