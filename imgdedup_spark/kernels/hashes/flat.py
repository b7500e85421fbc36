"""What stands for a flat picture in the place of its hash: a digest, and a sketch to compare (``sketches``)."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.hashes.digests import digest_of
from imgdedup_spark.kernels.hashes.sketches import CELLS, COLOR_CELLS, DIGEST_DIGITS
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.trouble import explained

__all__ = ["flat_key"]
# A picture whose channels span no more levels than that is of one color: JPEG's noise is within it.
_ONE_COLOR = 8
# Of a cell, across and down, among which a difference of more than so many levels is a mark: a word, a thin line. A
# picture of marks, by the standard deviation of its cells (forms that are nearly blank have up to some 9, small objects
# on white 20 and more), is told from others by its pixels alone.
_PARTS, _MARK, _BLANK = 4, 16, 12


def flat_key(picture: Picture) -> str:
    """Hex: a digest of ``DIGEST_DIGITS``, and the sketch of a picture that has one.

    None has an animation, nor a deep picture, of which much can lie within one step of 8 bits, nor one that is
    blank but for some marks: a form with "yes" has the sketch of one with "no".
    """
    try:
        with explained(picture.data):
            if picture.is_animated or picture.is_deep:
                return digest_of(picture)
            colors = picture.rgb()
            color = _one_color(colors)
            return (digest_of(picture) if color is None else _digest(color)) + _sketch(colors).hex()
    except ImageError:  # in a later frame, which the hash did not ask for, or of all pixels, as the hash did not
        return _digest(bytes(picture.data))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=DIGEST_DIGITS // 2).hexdigest()


def _one_color(colors: Image.Image) -> bytes | None:
    """The color in steps of some 12 levels; None if there is more than one."""
    bands = colors.getextrema()
    if any(high - low > _ONE_COLOR for low, high in bands):  # type: ignore[misc]
        return None
    mean = colors.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, tuple)
    # No step ends within two levels of 0, 51, 102, … and 64, 128, …: the colors that people pick, re-encoded.
    return b"color " + bytes((8 * level + 2) // 95 for level in mean)


def _sketch(colors: Image.Image) -> bytes:
    """Empty if the picture is blank but for marks, which a sketch hardly has."""
    light, *differences = colors.convert("YCbCr").split()
    parts = np.asarray(light.resize((CELLS * _PARTS, CELLS * _PARTS), Image.Resampling.BOX), np.uint16)
    parts = parts.reshape(CELLS, _PARTS, CELLS, _PARTS)
    cells = ((parts.sum(axis=(1, 3)) + _PARTS * _PARTS // 2) // (_PARTS * _PARTS)).astype(np.uint8)
    has_marks = (parts.max(axis=(1, 3)) - parts.min(axis=(1, 3)) > _MARK).any()
    if has_marks and cells.std() < _BLANK:
        return b""
    size = (COLOR_CELLS, COLOR_CELLS)
    return cells.tobytes() + b"".join(band.resize(size, Image.Resampling.BOX).tobytes() for band in differences)
