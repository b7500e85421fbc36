"""The lower half of 16-bit colors, which Pillow cuts off: it decodes them to 8 bits."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

from imgdedup_spark.kernels.pictures.trouble import Bytes, formats

__all__ = ["low_bytes"]
# Raw modes name the order of bytes (big, little, native); read in the other order, the higher byte is the lower one.
_OTHER = {"B": "L", "L": "B", "N": "B"}


def low_bytes(data: Bytes, number: int = 0) -> Image.Image | None:
    """The lower bytes of a PNG or TIFF file with 16 bits a color, in the mode and not turned; None for other files.

    Of grey with opacity, both bytes of both.

    Args:
        number: of the frame.
    """
    picture = Image.open(BytesIO(data), formats=[one for one in ("PNG", "TIFF") if one in formats()])
    if number:
        picture.seek(number)
    if not picture.tile or picture.mode not in ("RGB", "RGBA", "CMYK", "LA"):
        return None
    raw = _raw_mode(picture.tile[0])
    if not raw.endswith((";16B", ";16L", ";16N")):
        return None
    other = "RGBA" if raw.startswith("LA;") else raw[:-1] + _OTHER[raw[-1]]
    picture.tile = [_with_raw_mode(tile, other) for tile in picture.tile]
    picture.load()
    return picture


def _raw_mode(tile: Any) -> str:
    how = tile[3]
    return str(how if isinstance(how, str) else how[0])


def _with_raw_mode(tile: Any, mode: str) -> Any:
    how = mode if isinstance(tile[3], str) else (mode, *tile[3][1:])
    return tile._replace(args=how) if hasattr(tile, "_replace") else (*tile[:3], how)
