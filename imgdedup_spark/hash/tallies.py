"""How much there is of each input, from what is counted of prints (``Prints.aggregates``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    """How much there is of one input."""

    rows: int = 0
    images: int = 0
    rows_with_errors: int = 0
    animated: int = 0


def tally(counts: Iterable[Any]) -> dict[int | None, Tally]:
    """By number of the input; None where rows do not know theirs.

    Args:
        counts: of ``Source.count`` with ``Prints.aggregates``.
    """
    found: dict[int | None, Tally] = {}
    for one in counts:
        so_far = found.get(one["input"], Tally())
        found[one["input"]] = Tally(
            so_far.rows + one["rows"],
            so_far.images + one["images"],
            so_far.rows_with_errors + one["errors"],
            so_far.animated + one["animated"],
        )
    return found


def size_range(counts: Iterable[Any]) -> tuple[int, int]:
    """The fewest and the most of the prints' sizes; (0, 0) without any."""
    sizes = [one for row in counts for one in (row["fewest"], row["most"]) if one is not None]
    return (min(sizes), max(sizes)) if sizes else (0, 0)
