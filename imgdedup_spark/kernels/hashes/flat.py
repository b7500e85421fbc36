"""What stands for a flat picture in the place of its hash: a digest, and a sketch to compare (``sketches``)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.hashes.digests import digest_of
from imgdedup_spark.kernels.hashes.sketches import CELLS, COLOR_CELLS, digest
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.trouble import explained

__all__ = ["flat_key"]
# A picture whose channels span no more levels than that is of one color: JPEG's noise is within it.
_ONE_COLOR = 8
# Parts of a cell, across and down. One is off its ground, the median around it, by more than so many levels if it is
# part of something, and by more than the second number if that can be seen: of a word, a thin line, an object. The
# third is more than a graded ground changes in a cell and the next.
_PARTS, _OFF, _MARK, _EDGE = 4, 6, 16, 24
# Parts around a part, to each side, whose median is its ground, which is plain if so large a share of them is not off.
_AROUND, _PLAIN = 6, 0.7
# A picture with marks whose cells have so small a standard deviation is blank but for them: small objects on white come
# to 20 and more, nearly blank pages to 9.
_BLANK = 12


def flat_key(picture: Picture) -> str:
    """Hex: a digest of ``DIGEST_DIGITS``, and the sketch of a picture that has one.

    None has an animation, nor a deep picture, of which much can lie within one step of 8 bits, nor one with a word on
    a plain ground: a form with "yes" has the sketch of one with "no".
    """
    try:
        with explained(picture.data):
            if picture.is_animated or picture.is_deep:
                return digest_of(picture)
            colors = picture.rgb()
            color = _one_color(colors)
            return (digest_of(picture) if color is None else digest(color)) + _sketch(colors).hex()
    except ImageError:  # in a later frame, which the hash did not ask for, or of all pixels, as the hash did not
        return digest(bytes(picture.data))


def _one_color(colors: Image.Image) -> bytes | None:
    """The color in steps of some 12 levels; None if there is more than one."""
    for band in range(3):  # the first one tells of nearly all pictures
        low, high = colors.getchannel(band).getextrema()
        if high - low > _ONE_COLOR:  # type: ignore[operator]
            return None
    mean = colors.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, tuple)
    # No step ends within two levels of 0, 51, 102, … and 64, 128, …: the colors that people pick, re-encoded.
    return b"color " + bytes((8 * level + 2) // 95 for level in mean)


def _sketch(colors: Image.Image) -> bytes:
    """Empty if the picture is blank but for marks, or has words, which a sketch hardly shows."""
    side = CELLS * _PARTS
    light, *differences = colors.resize((side, side), Image.Resampling.BOX).convert("YCbCr").split()
    parts = np.asarray(light, np.int16)
    cells = _of_cells(parts)
    means = ((cells.sum(axis=(1, 3), dtype=np.int32) + _PARTS * _PARTS // 2) // (_PARTS * _PARTS)).astype(np.uint8)
    has_marks = (cells.max(axis=(1, 3)) - cells.min(axis=(1, 3)) > _MARK).any()
    if has_marks and (means.std() < _BLANK or _has_words(parts)):
        return b""
    size = (COLOR_CELLS, COLOR_CELLS)
    return means.tobytes() + b"".join(band.resize(size, Image.Resampling.BOX).tobytes() for band in differences)


def _has_words(parts: npt.NDArray[np.int16]) -> bool:
    """Whether there are marks on a plain ground, even or graded, beside which no block of a cell's size is off that
    ground as a whole, as there is on one side of an object's edge."""
    # Every other part of those around: a graded ground has its middle in the middle.
    some = _around(np.pad(parts, _AROUND, mode="reflect", reflect_type="odd"))[:, :, ::2, ::2]
    middle = some[0, 0].size // 2
    # NumPy has vector instructions for medians of 32 bits, which take a third of the time of 16.
    around = some.reshape(*parts.shape, -1).astype(np.int32)
    ground = np.partition(around, middle, axis=2)[:, :, middle]
    off = np.abs(parts - ground)
    shares = _share_around(np.pad(off > _OFF, _AROUND, mode="reflect"))
    down, across = np.nonzero((off > _MARK) & (shares <= 1 - _PLAIN))
    blocks = np.lib.stride_tricks.sliding_window_view(np.pad(parts, _PARTS, mode="edge"), (_PARTS, _PARTS))
    beside = np.zeros(len(down), bool)
    # Beginning one part further up, half of a block up, one part further down, as the padded parts are numbered.
    starts = 0, _PARTS // 2, _PARTS + 1
    for row, column in itertools.product(starts, starts):
        near = blocks[down + row, across + column]
        beside |= (np.abs(near - ground[down, across, None, None]) > _EDGE).all(axis=(1, 2))
    return not beside.all()


def _around(padded: npt.NDArray[Any]) -> npt.NDArray[Any]:
    wide = 2 * _AROUND + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (wide, wide))


def _share_around(padded: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The mean of each window of ``_around``, by sums of all that is above and to the left."""
    wide = 2 * _AROUND + 1
    sums = np.pad(padded.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32), ((1, 0), (1, 0)))
    inside = sums[wide:, wide:] - sums[:-wide, wide:] - sums[wide:, :-wide] + sums[:-wide, :-wide]
    return inside / wide**2


def _of_cells(parts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return parts.reshape(CELLS, _PARTS, CELLS, _PARTS)
