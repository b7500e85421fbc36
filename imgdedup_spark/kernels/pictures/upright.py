"""Which way up a picture is: EXIF orientation, in whatever way a format keeps it."""

from __future__ import annotations

from PIL import ExifTags, Image, TiffImagePlugin

from imgdedup_spark.kernels.pictures.trouble import Bytes

__all__ = ["orientation_of", "states_orientation_late", "turned", "turned_size", "upright_size"]
# What each EXIF orientation asks for (1, upright, is absent), as in PIL.ImageOps.exif_transpose.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
_ORIENTATION_KEYS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation (1 to 8) still to be applied; 1 where there is none or it cannot be read."""
    if picture.format == "TIFF":  # Pillow turns these itself while decoding
        return 1
    if not any(key in picture.info for key in _ORIENTATION_KEYS):
        return 1
    try:
        # The base class's method, because PNG's own would decode the picture.
        value = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF data is no reason to lose a picture
        return 1
    return value if value in _TURNS else 1


def states_orientation_late(picture: Image.Image, data: Bytes) -> bool:
    """True for a PNG file with EXIF data that the header's reader has not come to yet."""
    if "exif" in picture.info or "Raw profile type exif" in picture.info:
        return False
    data = bytes(data)
    return b"eXIf" in data or b"Raw profile type exif" in data


def upright_size(header: Image.Image) -> tuple[int, int]:
    """The size after turning, of a picture whose pixels are not decoded."""
    if isinstance(header, TiffImagePlugin.TiffImageFile):
        # Whether its size is already the upright one depends on Pillow's version; the tags do not.
        tags = header.tag_v2
        stored = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
        return turned_size(stored, tags.get(ExifTags.Base.Orientation, 1))
    return turned_size(header.size, orientation_of(header))


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture upright."""
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation in _SIDEWAYS else size
