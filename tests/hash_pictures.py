"""Pictures for the tests of decoding and hashing: photographs, awkward shapes, every mode in every format."""

from __future__ import annotations

import io
from functools import cache
from itertools import product

import numpy as np
import skimage.data
from PIL import Image

MODES = ("RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "I;16")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@cache
def photographs() -> tuple[Image.Image, ...]:
    """Real pictures of odd sizes, in RGB."""
    arrays = (
        skimage.data.astronaut()[:300, :421],
        skimage.data.coffee()[50:, :257],
        skimage.data.page(),
        skimage.data.camera()[:257, 100:229],
    )
    return tuple(Image.fromarray(array).convert("RGB") for array in arrays)


def awkward() -> list[Image.Image]:
    """Flat, tiny, very long and noisy pictures, in RGB."""
    random = np.random.default_rng(7)
    flat = [
        Image.new("RGB", size, color)
        for size, color in (
            ((64, 64), "white"),
            ((50, 31), (127, 127, 127)),
            ((1, 1), "red"),
            ((1, 1), "black"),
            ((200, 3), (10, 200, 77)),
        )
    ]
    noise = [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for height, width in ((2, 2), (5, 3), (1, 400), (700, 2), (9, 9))
    ]
    half = Image.new("RGB", (120, 80), "black")
    half.paste("white", (0, 0, 60, 80))
    return [*flat, *noise, half]


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """An RGB picture in another mode; with transparency where the mode has any."""
    if mode in ("RGBA", "LA"):
        alpha = np.add.outer(np.arange(picture.height), np.arange(picture.width)) % 256
        picture = picture.convert(mode[:-1])
        picture.putalpha(Image.fromarray(alpha.astype(np.uint8)))
        return picture
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert(mode)


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    """The file's bytes."""
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def files(picture: Image.Image) -> dict[tuple[str, str], bytes]:
    """(mode, format) → file, for all pairs that Pillow can write."""
    pairs = {pair: _encoded_if_possible(picture, *pair) for pair in product(MODES, FORMATS)}
    return {pair: data for pair, data in pairs.items() if data is not None}


def _encoded_if_possible(picture: Image.Image, mode: str, file_format: str) -> bytes | None:
    try:
        return encoded(in_mode(picture, mode), file_format)
    except (OSError, ValueError):  # the format has no such mode
        return None


def turned(picture: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """A picture as a camera held that way stores it, with the EXIF data that say so."""
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (picture if stored is None else picture.transpose(stored)), exif
