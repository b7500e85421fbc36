"""Sketches of flat pictures, which are compared in the place of hashes.

A flat picture's hash says nothing; its pixels do. Another file of the same picture has them within what encoders and
scaling do to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["CELLS", "COLOR_CELLS", "DIGEST_DIGITS", "digest", "earliest_same", "sketches"]
#: Hex digits at the start of a flat picture's key, equal for equal pixels and for one and about the same color.
DIGEST_DIGITS = 32
#: Cells a side of a sketch's luminance, and of each of its two color differences.
CELLS, COLOR_CELLS = 24, 4
_LIGHT = CELLS * CELLS
#: Bytes of a sketch, each a cell's mean: luminance, then color differences.
_BYTES = _LIGHT + 2 * COLOR_CELLS * COLOR_CELLS
# How far two sketches of the same picture are apart, in grey levels: all luminance together, a cell's color difference,
# and what remains of a cell's luminance, to which comes this part of the contrast around it, for scaling moves edges.
_ALL, _COLOR, _CELL, _PART = 6, 6, 4, 1 / 3
# Cells that are looked at one by one before all others: those by which a sketch differs most from its mean.
_FIRST = 8


def digest(content: bytes) -> str:
    """``DIGEST_DIGITS`` hex digits."""
    return hashlib.blake2b(content, digest_size=DIGEST_DIGITS // 2).hexdigest()


def sketches(keys: Sequence[str]) -> npt.NDArray[np.uint8]:
    """(n, sketch bytes) of keys that have one: those of more digits than a digest."""
    content = b"".join(bytes.fromhex(key[DIGEST_DIGITS:]) for key in keys)
    return np.frombuffer(content, np.uint8).reshape(-1, _BYTES)


def earliest_same(sketched: npt.NDArray[np.uint8], known: int) -> npt.NDArray[np.int64]:
    """(n,) the first sketch before each that shows the same and stands for itself; else its own number.

    Args:
        sketched: (n, sketch bytes), in keep order.
        known: how many at the start stand for themselves whatever they show.
    """
    count = len(sketched)
    light = sketched[:, :_LIGHT].astype(np.float32)
    mean = light.mean(axis=1)
    # In half levels, by cell: what is left of the luminance, and how far another's may be from it.
    left = np.rint(2 * (light - mean[:, None])).astype(np.int16).T.copy()
    slack = np.rint(2 * (_CELL + _PART * _contrast(light))).astype(np.int16).T.copy()
    colors = sketched[:, _LIGHT:].astype(np.int16)
    stands, standing, size = np.arange(count), np.zeros(count, np.int64), known
    standing[:known] = stands[:known]
    for one in range(known, count):
        near = standing[:size]
        near = near[np.abs(mean[near] - mean[one]) <= _ALL]
        for cell in np.argpartition(-np.abs(left[:, one]), _FIRST)[:_FIRST]:
            apart = np.abs(left[cell, near] - left[cell, one])
            near = near[apart <= np.maximum(slack[cell, near], slack[cell, one])]
        near = near[(np.abs(colors[near] - colors[one]) <= _COLOR).all(axis=1)]
        apart = np.abs(left[:, near] - left[:, one, None])
        near = near[(apart <= np.maximum(slack[:, near], slack[:, one, None])).all(axis=0)]
        if len(near):
            stands[one] = near[0]
        else:
            standing[size], size = one, size + 1
    return stands


def _contrast(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, cells) the range of luminance in each cell and the eight around it."""
    around = np.pad(light.reshape(-1, CELLS, CELLS), ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))
    return (windows.max(axis=(3, 4)) - windows.min(axis=(3, 4))).reshape(len(light), _LIGHT)
