"""How the files of each format begin. No Pillow here: paths are told from base64 where no picture is decoded."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["begins_a_picture", "format_of"]


class _Beginning(NamedTuple):
    """Patterns of first bytes.

    Attributes:
        likely: enough to call a file that does not open a broken one of this format; empty where none is.
        certain: enough to call a text the base64 of such a file, which a path must not match by chance.
    """

    likely: bytes
    certain: bytes


_BEGINNINGS = {
    "JPEG": _Beginning(rb"\xff\xd8", rb"\xff\xd8\xff"),
    "PNG": _Beginning(rb"\x89PNG", rb"\x89PNG\r\n\x1a\n"),
    "WEBP": _Beginning(rb".{8}WEBP", rb"RIFF.{4}WEBP"),
    "GIF": _Beginning(rb"GIF8", rb"GIF8"),
    "BMP": _Beginning(rb"BM", rb"BM.{4}\0{4}"),
    "TIFF": _Beginning(rb"II\*\0|MM\0\*", rb"II\*\0|MM\0\*"),
    "AVIF": _Beginning(rb".{4}ftypavi", rb".{4}ftyp"),  # HEIF as well
    "JPEG2000": _Beginning(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "ICO": _Beginning(b"", rb"\0\0\x01\0"),
    "HEIF": _Beginning(rb".{4}ftyp(hei|hev|mif1|msf1)", b""),
    "JXL": _Beginning(rb"\xff\x0a|\0\0\0\x0cJXL ", rb"\0\0\0\x0cJXL \r\n"),
    "PSD": _Beginning(rb"8BPS\0\x01", rb"8BPS"),
    "DDS": _Beginning(rb"DDS \x7c", rb"DDS \x7c\0\0\0"),
    "QOI": _Beginning(rb"qoif", rb"qoif\0"),
    "ICNS": _Beginning(rb"icns", rb"icns\0"),
    "BLP": _Beginning(rb"BLP[12]", rb"BLP[12]\0\0\0\0|BLP2\x01\0\0\0"),
    "SUN": _Beginning(rb"\x59\xa6\x6a\x95", rb"\x59\xa6\x6a\x95\0\0"),
}
_CERTAIN = re.compile(b"|".join(filter(None, (one.certain for one in _BEGINNINGS.values()))), re.DOTALL)


def begins_a_picture(head: bytes) -> bool:
    """Whether these (12 or more) bytes begin a file of a known format."""
    return _CERTAIN.match(head) is not None


def format_of(head: bytes) -> str | None:
    """Pillow's name of the format that a file with this head (12 or more bytes) is meant to have."""
    for name, beginning in _BEGINNINGS.items():
        if beginning.likely and re.match(beginning.likely, head, re.DOTALL):
            return name
    return None
