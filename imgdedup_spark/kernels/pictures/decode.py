"""Bytes → pixels: opens one picture, turns it upright and hands out its pixels at the scale a hash needs.

Nothing here knows of Spark or of hashes. All trouble leaves as :class:`~imgdedup_spark.errors.ImageError`.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import TypeAlias

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from imgdedup_spark.errors import ImageError, one_line
from imgdedup_spark.kernels.pictures.signatures import format_of

__all__ = ["DEFAULT_MAX_PIXELS", "Bytes", "Picture", "explained", "quiet"]
Bytes: TypeAlias = bytes | bytearray | memoryview
# Pillow's own limit: twice Image.MAX_IMAGE_PIXELS is where it refuses (a decoded RGB picture of 0.7 GB).
DEFAULT_MAX_PIXELS = 178_956_970
# Raster formats only. EPS, PDF and WMF are absent on purpose: Pillow hands them to other programs. The
# order is the order in which Pillow tries them: the common ones first, TGA, which has no signature, last.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "DIB", "PPM", "ICO", "TGA")
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


# Pillow logs a few errors; without any handler Python would print them.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Picture:
    """One file, opened; decoded only when pixels are asked for, and only once for each scale.

    With ``fast``, JPEG files are decoded at reduced scale and without colour where the caller can do with
    that. What a caller gets depends on the file and on its own arguments alone, never on what else was
    asked for: a hash is the same whatever other hashes are computed in the same run.

    Args:
        data: the file's bytes.
        max_pixels: a picture of more pixels is refused before it is decoded.
        fast: reduced-scale decoding where the format allows it.

    Raises:
        ImageError: ``empty``, ``unknown_format``, ``truncated``, ``corrupt`` or ``too_large``; the
        constructor
            as far as the header tells, the other methods for the pixels.
    """

    def __init__(self, data: Bytes, max_pixels: int = DEFAULT_MAX_PIXELS, fast: bool = True) -> None:
        self.data = data
        self.fast = fast
        header = _open(data, max_pixels)
        self._header: Image.Image | None = header  # until its pixels are decoded; a file can be decoded once
        self._format = header.format
        self._stored_size = header.size
        self._size: tuple[int, int] | None = None
        self._decoded: dict[tuple[str, int], Image.Image] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the upright picture."""
        if self._size is None:
            # Only reached when nothing was decoded. A PNG may state its orientation after its pixels.
            assert self._header is not None
            if self._format == "PNG" and _states_orientation_late(self._header, self.data):
                return self.original().size
            self._size = _upright_size(self._header)
        return self._size

    def original(self) -> Image.Image:
        """All pixels, upright, in the file's own mode."""
        return self._decode("", 1)

    def grey(self, side: int | None = None) -> Image.Image:
        """Upright luminance (mode ``L``) with no side shorter than ``side`` unless the picture's is.

        Only ``fast`` pictures make use of ``side``; None asks for full scale.
        """
        if self.fast and self._format in ("JPEG", "MPO"):
            return self._decode("L", self._scale(side))
        if ("L", 1) not in self._decoded:
            self._decoded["L", 1] = self.original().convert("L")
        return self._decoded["L", 1]

    def rgb(self) -> Image.Image:
        """All pixels, upright, in mode ``RGB``; transparency is dropped."""
        picture = self.original()
        if picture.mode.startswith("I;16"):
            picture = picture.convert("L")  # Pillow has no direct way from 16-bit grey to RGB
        return picture if picture.mode == "RGB" else picture.convert("RGB")

    def _scale(self, side: int | None) -> int:
        """The JPEG decoder's denominator (1, 2, 4 or 8) that leaves no side shorter than ``side``."""
        if side is None:
            return 1
        room = min(self._stored_size) // side
        return next((scale for scale in (8, 4, 2) if room >= scale), 1)

    def _decode(self, mode: str, scale: int) -> Image.Image:
        """Decodes in ``mode`` (``""``: the file's own) at 1/scale."""
        if (mode, scale) not in self._decoded:
            with explained(self.data, self._format):
                picture = self._header or Image.open(BytesIO(self.data), formats=_formats())
                self._header = None
                width, height = self._stored_size
                if mode:
                    picture.draft(mode, (width // scale, height // scale))
                picture.load()
                orientation = _orientation(picture)
                self._size = _turned_size(self._stored_size if mode else picture.size, orientation)
                if picture.mode == "LAB":  # Pillow converts it to nothing else, and the library fails
                    picture = picture.getchannel("L")
                if mode and picture.mode != mode:  # CMYK has no luminance-only decoding
                    picture = picture.convert(mode)
                if orientation in _TURNS:
                    picture = picture.transpose(_TURNS[orientation])
                self._decoded[mode, scale] = picture
        return self._decoded[mode, scale]


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's warnings (odd EXIF data, large pictures) off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow can open (AVIF is the newest)."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(data: Bytes, max_pixels: int) -> Image.Image:
    """Reads the header. Raises ImageError as far as the header tells."""
    if len(data) == 0:
        raise ImageError("empty", "no bytes")
    if max_pixels > DEFAULT_MAX_PIXELS and Image.MAX_IMAGE_PIXELS is not None:
        # The user allows more than Pillow would; ours is the limit that counts.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    with explained(data):
        picture = Image.open(BytesIO(data), formats=_formats())
    width, height = picture.size
    if width * height > max_pixels:
        raise ImageError("too_large", f"{width} x {height} pixels are more than {max_pixels:,}")
    return picture


@contextmanager
def explained(data: Bytes, name: str | None = None) -> Iterator[None]:
    """Turns whatever Pillow raises into an ImageError.

    A malformed file can make it raise nearly anything (struct.error, KeyError, ZeroDivisionError,
    MemoryError, ...), hence the broad net.

    Args:
        data: the file that is being read.
        name: its format, for the message, where it is known.
    """
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", "more pixels than allowed") from error
    except UnidentifiedImageError as error:
        raise _explain_unidentified(data) from error
    except MemoryError as error:
        raise ImageError("unreadable", "MemoryError: the memory is too short to decode it") from error
    except Exception as error:
        name = name or _meant_format(data) or "picture"
        # Some messages show an object's address, which differs from run to run.
        text = re.sub(r"\s*(at )?0x[0-9a-fA-F]+", "", one_line(error))[:200]
        cut = isinstance(error, EOFError) or "truncated" in text.lower() or _ends_early(data)
        raise ImageError("truncated" if cut else "corrupt", f"{name}: {text or type(error).__name__}") from error


def _explain_unidentified(data: Bytes) -> ImageError:
    name = _meant_format(data)
    if name is None:
        return ImageError("unknown_format", "not a picture of any known format")
    stream = BytesIO(data)
    try:
        Image.open(stream, formats=[name])
    except Exception:
        # A parser that gave up at the very end ran out of bytes; one that gave up earlier met wrong ones.
        if _ends_early(data) or (name != "WEBP" and stream.tell() >= len(data)):
            return ImageError("truncated", f"{name}: the file ends within its header")
    return ImageError("corrupt", f"{name}: the header cannot be read")


def _meant_format(data: Bytes) -> str | None:
    """The format that a broken file seems to have, of those that can be opened."""
    name = format_of(bytes(data[:16]))
    return name if name in _formats() else None


def _ends_early(data: Bytes) -> bool:
    """True for a WebP file shorter than its header says (its decoder does not tell why it fails)."""
    return _meant_format(data) == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _orientation(picture: Image.Image) -> int:
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


def _states_orientation_late(picture: Image.Image, data: Bytes) -> bool:
    """True for a PNG file with EXIF data that the header's reader has not come to yet."""
    if "exif" in picture.info or "Raw profile type exif" in picture.info:
        return False
    data = bytes(data)
    return b"eXIf" in data or b"Raw profile type exif" in data


def _upright_size(header: Image.Image) -> tuple[int, int]:
    """The size after turning, of a picture whose pixels are not decoded."""
    if isinstance(header, TiffImagePlugin.TiffImageFile):
        # Whether its size is already the upright one depends on Pillow's version; the tags do not.
        tags = header.tag_v2
        stored = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
        return _turned_size(stored, tags.get(ExifTags.Base.Orientation, 1))
    return _turned_size(header.size, _orientation(header))


def _turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation in _SIDEWAYS else size
