"""Where the picture is in a picture: without bars of one color, captions in them, frames, and blurred copies behind it.

A bar is told by its outermost line, most of which has one color; it reaches as far as lines have at least some of that
color (a caption covers less than the rest), and back to the last line that is all of it. Bars at opposite sides that
are no single color, but much smoother than what is between them and cut off from it by one straight line, are what
players and phones fill a screen with: a blurred copy, or a gradient.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Box", "inner_box"]
#: top, bottom, left, right: lines and columns, the ends exclusive.
Box: TypeAlias = tuple[int, int, int, int]
Levels: TypeAlias = npt.NDArray[np.int16]
# Grey levels from the bar's color that still are it: JPEG's noise in a bar, and what a photograph has not.
_TOLERANCE = 10
# Of a line: to begin a bar; to end one (text has a margin); and to belong to one (a caption in bold type).
_BEGINS, _CLEAN, _BELONGS = 0.85, 0.95, 0.3
# Of a side: more than this is the picture's own empty space.
_WIDEST = 0.4
# What is left must have at least this part of each side.
_LEAST = 0.3
# A frame in a bar in a frame.
_ROUNDS = 3
# Steps between a smooth bar and the picture: in grey levels, and how many columns have one.
_STEP, _STRAIGHT = 8, 0.5
# How much smoother than the picture a bar is, and how unequal opposite ones may be, of the side.
_SMOOTHER, _UNEQUAL = 0.4, 0.03


def inner_box(grey: npt.NDArray[np.uint8]) -> Box | None:
    """The part of a picture that is within its borders; None if there are none.

    Args:
        grey: (height, width), some hundred pixels a side: detail costs time and is not needed.
    """
    levels = grey.astype(np.int16)
    height, width = levels.shape
    top, bottom, left, right = 0, height, 0, width
    for _ in range(_ROUNDS):
        before = top, bottom, left, right
        inside = levels[top:bottom, left:right]
        above, below = _bars(inside)
        top, bottom = top + above, bottom - below
        inside = levels[top:bottom, left:right]
        before_it, behind = _bars(inside.T)
        left, right = left + before_it, right - behind
        if (top, bottom, left, right) == before:
            break
    if bottom - top < _LEAST * height or right - left < _LEAST * width:
        return None
    return (top, bottom, left, right) if (top, bottom, left, right) != (0, height, 0, width) else None


def _bars(levels: Levels) -> tuple[int, int]:
    """Lines of the bars above and below."""
    above, below = _plain_bar(levels), _plain_bar(levels[::-1])
    return (above, below) if above or below else _smooth_bars(levels)


def _plain_bar(levels: Levels) -> int:
    """How many lines the bar has that begins with the first one."""
    count, width = levels.shape
    first = levels[0]
    color = np.sort(first)[width // 2]
    if np.count_nonzero(np.abs(first - color) <= _TOLERANCE) < _BEGINS * width:
        return 0
    lines = levels[: int(_WIDEST * count)]
    share = np.count_nonzero(np.abs(lines - color) <= _TOLERANCE, axis=1) / width
    others = np.flatnonzero(share < _BELONGS)
    clean = np.flatnonzero(share[: others[0] if len(others) else None] >= _CLEAN)
    return int(clean[-1]) + 1 if len(clean) else 0


def _smooth_bars(levels: Levels) -> tuple[int, int]:
    """Lines of two equal bars that are smooth and cut off straight; (0, 0) without them."""
    count = len(levels)
    most = int(_WIDEST * count)
    if most < 3 or levels.shape[1] < 3:
        return 0, 0
    steps = np.count_nonzero(np.abs(levels[1:] - levels[:-1]) > _STEP, axis=1) / levels.shape[1]
    if steps[:most].max() < _STRAIGHT or steps[-most:].max() < _STRAIGHT:
        return 0, 0
    above = int(steps[:most].argmax()) + 1
    below = int(steps[::-1][:most].argmax()) + 1
    if abs(above - below) > max(1, _UNEQUAL * count):
        return 0, 0
    activity = np.abs(levels[:, 1:] - levels[:, :-1]).mean(axis=1)
    smooth = _SMOOTHER * np.median(activity[above : count - below])
    # The line at the cut may hold some of both.
    bars = [activity[: max(1, above - 1)], activity[count - max(1, below - 1) :]]
    return (above, below) if max(bar.mean() for bar in bars) <= smooth else (0, 0)
