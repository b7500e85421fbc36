"""What can be opened, and what Pillow's errors mean. All trouble leaves as an ``ImageError``."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

from imgdedup_spark.errors import ImageError, one_line
from imgdedup_spark.kernels.pictures.signatures import format_of
from imgdedup_spark.kernels.pictures.watch import is_watched

__all__ = ["Bytes", "explained", "formats", "meant_format", "quiet"]
Bytes: TypeAlias = bytes | bytearray | memoryview
# All that Pillow decodes by itself, in the order in which they are tried: the common ones first, those without a
# signature last. Absent on purpose: EPS, PDF and WMF, which are handed to other programs; IPTC, which opens whatever is
# in it; FPX and MIC, containers of documents; and what Pillow only identifies (BUFR, GRIB, HDF5, MPEG).
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "HEIF", "JXL", "DIB", "PPM", "ICO", "PSD", "DDS",
    "QOI", "ICNS", "CUR", "PCX", "DCX", "SGI", "SUN", "BLP", "FLI", "FTEX", "FITS", "GBR", "MCIDAS", "MSP", "PIXAR",
    "XBM", "XPM", "XVTHUMB", "PCD", "IM", "IMT", "SPIDER", "TGA",
)  # fmt: skip
# Packages that add formats to Pillow (extra `formats`).
_PLUGINS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}


# Pillow logs a few errors; without any handler Python would print them.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's warnings (odd EXIF data, large pictures) off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def formats() -> tuple[str, ...]:
    """The formats that can be opened here: by this build of Pillow, and by the plugins that are installed."""
    Image.init()
    for package in _PLUGINS.values():
        with suppress(ImportError):
            register = getattr(import_module(package), "register_heif_opener", None)
            if register:  # the other one registers itself
                register()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


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
    except GeneratorExit:  # of a generator that is closed within
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not is_watched():  # the user's
            raise
        name = name or meant_format(data) or "picture"
        # Some messages show an object's address, which differs from run to run.
        text = re.sub(r"\s*(at )?0x[0-9a-fA-F]+", "", one_line(error))[:200]
        if isinstance(error, MemoryError) or "out of memory" in text.lower():
            raise _out_of_memory(name) from error
        if not isinstance(error, Exception):
            raise ImageError("crashed", f"{name}: {type(error).__name__}: {text}") from error
        cut = isinstance(error, EOFError) or "truncated" in text.lower() or _ends_early(data)
        raise ImageError("truncated" if cut else "corrupt", f"{name}: {text or type(error).__name__}") from error


def _out_of_memory(name: str) -> ImageError:
    """In a helper the bound is ours and every run's; elsewhere it is what the machine has left just now."""
    if is_watched():
        return ImageError("too_large", f"{name}: it takes more memory to decode than its header allows for")
    return ImageError("unreadable", "MemoryError: the memory is too short to decode it")


def _explain_unidentified(data: Bytes) -> ImageError:
    name = meant_format(data)
    if name is None:
        absent = format_of(bytes(data[:16]))
        if absent in _PLUGINS:
            return ImageError("unknown_format", f"{absent}: read if {_PLUGINS[absent]} is installed (extra `formats`)")
        return ImageError("unknown_format", "not a picture of any known format")
    stream = BytesIO(data)
    try:
        Image.open(stream, formats=[name])
    except Exception:
        # A parser that gave up at the very end ran out of bytes; one that gave up earlier met wrong ones.
        if _ends_early(data) or (name != "WEBP" and stream.tell() >= len(data)):
            return ImageError("truncated", f"{name}: the file ends within its header")
    return ImageError("corrupt", f"{name}: the header cannot be read")


def meant_format(data: Bytes) -> str | None:
    """The format that a broken file seems to have, of those that can be opened."""
    name = format_of(bytes(data[:16]))
    return name if name in formats() else None


def _ends_early(data: Bytes) -> bool:
    """True for a WebP file shorter than its header says (its decoder does not tell why it fails)."""
    return meant_format(data) == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
