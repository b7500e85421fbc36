"""Views of a picture by their names: no pixels here."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CROPS", "TURNS", "VIEWS", "Turn"]


class Turn(NamedTuple):
    """Attributes:
    transposed: whether rows become columns; that comes first.
    down: whether the order of the rows is reversed.
    across: whether that of the columns is.
    """

    transposed: bool
    down: bool
    across: bool


#: By name; a flip is from left to right and comes before the turn, which is clockwise, in degrees.
TURNS: dict[str, Turn] = {
    "rotate_90": Turn(True, False, True),
    "rotate_180": Turn(False, True, True),
    "rotate_270": Turn(True, True, False),
    "flip": Turn(False, False, True),
    "flip_90": Turn(True, True, True),
    "flip_180": Turn(False, True, False),
    "flip_270": Turn(True, False, False),
}
CROPS = ("trimmed", "center")
#: All views; a view's place here is its number in prints.
VIEWS = ("whole", *CROPS, *TURNS)
