"""What a decoded picture is: as people see it, in 8 bits on a ground, and as the very values that it holds.

docs/pictures.md states the rule; ``RULE`` is its number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

__all__ = ["RULE", "as_seen", "grey_levels", "is_deep", "values"]
#: Raised whenever the same file may get another hash: hashes made by different rules are never compared.
RULE = 5
_Color = tuple[int, int, int]
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
_ALPHA_MODES = ("RGBA", "LA", "PA", *_PREMULTIPLIED)


def is_deep(picture: Image.Image) -> bool:
    """Whether its values have more than 8 bits: integers of 16 or 32, or floats."""
    return picture.mode == "F" or picture.mode.startswith("I")


def as_seen(picture: Image.Image, ground: _Color) -> Image.Image:
    """The picture in 8 bits a channel and without transparency.

    One that is both already comes back as it is, whatever its mode: the ``imagehash`` package makes the same of it.
    """
    if picture.mode == "LAB":  # Pillow converts it to nothing else, and the library fails
        return picture.getchannel("L")
    alpha = _alpha(picture)
    if is_deep(picture):
        picture = Image.fromarray(_in_eight_bits(np.asarray(picture)))
    if alpha is None:
        return _colors(picture) if picture.mode in _PREMULTIPLIED else picture
    laid = Image.new("RGB", picture.size, ground)
    laid.paste(_colors(picture), mask=alpha)
    return laid


def grey_levels(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """(height, width), read-only, of a picture in mode ``L``.

    NumPy's own way to a picture copies it twice; Arrow's shows the decoder's memory, where that is in one piece.
    """
    try:
        return pa.array(picture).to_numpy().reshape(picture.height, picture.width)
    except ValueError:
        return np.asarray(picture)


def values(picture: Image.Image) -> tuple[str, bytes]:
    """What kind of values the picture has, and the values, row by row, little-endian; opacity last, where it says
    something.

    The kind depends on the pixels alone: a picture has the same one in every format that can hold it. It is empty for
    8-bit colors and shades of grey without transparency, which are one kind, as are palettes.
    """
    alpha = _alpha(picture)
    if is_deep(picture):
        kind, plane = _at_own_depth(np.asarray(picture))
    elif alpha is None:
        kind, colors = (picture.mode, picture) if picture.mode in ("LAB", "CMYK") else ("", _colors(picture))
        return kind, colors.tobytes()
    else:
        kind, plane = "", np.asarray(_colors(picture))
    if alpha is None:
        return kind, plane.tobytes()
    opacity = np.asarray(alpha)
    plane = plane.copy()
    plane[opacity == 0] = 0  # what nobody can see does not count
    return kind + "+alpha", plane.tobytes() + opacity.tobytes()


def _colors(picture: Image.Image) -> Image.Image:
    """In mode ``RGB``, transparency dropped."""
    if picture.mode == "RGB":
        return picture
    if picture.mode in _PREMULTIPLIED:
        picture = picture.convert(_PREMULTIPLIED[picture.mode])
    return picture.convert("RGB")


def _alpha(picture: Image.Image) -> Image.Image | None:
    """Opacity in mode ``L``; None where every pixel is opaque."""
    if picture.mode in _ALPHA_MODES:
        alpha = picture.getchannel("A" if "A" in picture.getbands() else "a")
    elif "transparency" in picture.info or (picture.mode == "P" and _palette_has_alpha(picture)):
        found = _keyed_alpha(picture, picture.info.get("transparency"))
        if found is None:
            return None
        alpha = found
    else:
        return None
    low, _ = alpha.getextrema()
    return alpha if isinstance(low, int) and low < 255 else None


def _palette_has_alpha(picture: Image.Image) -> bool:
    return picture.palette is not None and picture.palette.mode.endswith("A")


def _keyed_alpha(picture: Image.Image, clear: Any) -> Image.Image | None:
    """Opacity from the one color that is transparent, or from the palette's own."""
    if is_deep(picture):
        if not isinstance(clear, int):
            return None
        return Image.fromarray(np.where(np.asarray(picture) == clear, 0, 255).astype(np.uint8))
    if picture.mode == "RGB":
        # More than 255: of a 16-bit picture, whose colors Pillow has cut to 8 bits.
        known = isinstance(clear, tuple) and max(clear) <= 255
    else:
        known = picture.mode == "P" or (picture.mode in ("1", "L") and isinstance(clear, int))
    return picture.convert("RGBA").getchannel("A") if known else None


def _at_own_depth(plane: npt.NDArray[Any]) -> tuple[str, npt.NDArray[Any]]:
    """(height, width) of any deep mode → its kind and values. 16-bit values that Pillow keeps in 32 bits are 16-bit."""
    if plane.dtype.kind == "f":
        return "F", plane.astype("<f4")
    if _fits_16_bits(plane):
        return "I;16", plane.astype("<u2")
    return "I", plane.astype("<i4")


def _in_eight_bits(plane: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(height, width) of any deep mode → 0 to 255: by the range of 16-bit integers, else by the picture's own."""
    if plane.dtype.kind != "f" and _fits_16_bits(plane):
        return ((plane.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    wide = plane.astype(np.float64)
    finite = np.isfinite(wide)
    if not finite.any():
        return np.zeros(plane.shape, np.uint8)
    low, high = wide[finite].min(), wide[finite].max()
    if low == high:
        return np.zeros(plane.shape, np.uint8)
    scaled = (wide - low) * (255 / (high - low))
    # Infinities are the ends of the range, and what is no number is nothing.
    return np.rint(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)).clip(0, 255).astype(np.uint8)


def _fits_16_bits(plane: npt.NDArray[Any]) -> bool:
    return plane.dtype.itemsize == 2 or (plane.size > 0 and int(plane.min()) >= 0 and int(plane.max()) < 1 << 16)
