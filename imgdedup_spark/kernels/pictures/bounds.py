"""What a file's header states is held against what decoding it would take, before it is decoded.

A few bytes can ask for gigabytes or minutes. Whatever of that is not stated in a header ends by the bounds of
``watch``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.trouble import Bytes
from imgdedup_spark.kernels.pictures.watch import expect

__all__ = ["check_decoding", "check_frames", "check_head", "check_header"]
#: Decoded bytes for each pixel that is allowed: an upright RGB picture of ``max_pixels`` passes.
_BYTES_A_PIXEL = 4
#: Who lowers ``max_pixels`` wants smaller pictures, not fewer formats.
_ALWAYS_BYTES = 256 << 20
#: Decoders of some formats are written in Python and take some 0.2 µs a pixel: five seconds.
_SLOW_PIXELS = 25_000_000
#: Blank pictures pack well: deflate has up to 8,256 pixels in a byte, if they have a bit each.
_PIXELS_A_BYTE = 10_000
#: Smaller pictures may be packed as well as anybody likes.
_ANY_RATIO_PIXELS = 25_000_000
#: Scans, or frames, of ``max_pixels``: each takes about a nanosecond a pixel. Encoders write about ten scans.
_PASSES = 20
#: What decoders hold beside Pillow's picture, bytes a pixel: canvases, planes. WebP's takes them when it is opened.
_BESIDE = {"WEBP": 8, "AVIF": 5, "HEIF": 5, "JXL": 12}
_SCAN = b"\xff\xda"
_PIECE = 1 << 20
_ICONS = (b"\0\0\1\0", b"\0\0\2\0")
_PNG = b"\x89PNG\r\n\x1a\n"


def check_head(data: Bytes, max_pixels: int) -> None:
    """Of formats that are decoded, or their memory taken, as soon as Pillow opens them.

    Raises:
        ImageError: ``too_large``.
    """
    head = bytes(data[:32])
    if head[:4] in _ICONS:
        for size in _icon_sizes(data):
            _check_pixels(size, max_pixels)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) >= 30:
        size = _webp_size(head)
        _check_pixels(size, max_pixels)
        _check_ratio(size, len(data))
        _check_bytes("WEBP", size, size[0] * size[1] * (4 + _BESIDE["WEBP"]), max_pixels)


def check_header(picture: Image.Image, data: Bytes, max_pixels: int) -> None:
    """Of a picture that is opened.

    Raises:
        ImageError: ``too_large``: its pixels, their ratio to the file's bytes, or how often they are gone over.
    """
    size = picture.size
    pixels = size[0] * size[1]
    _check_pixels(size, max_pixels)
    if picture.mode != "1":  # blank fax pages, which cost little, pack better than anything
        _check_ratio(size, len(data))
    tiles = getattr(picture, "tile", None)
    if pixels > _SLOW_PIXELS and tiles and tiles[0][0] in Image.DECODERS:
        what = f"more than {_SLOW_PIXELS:,}, the most of formats that are slow to decode"
        raise ImageError("too_large", f"{picture.format}: {_shown(size)} pixels are {what}")
    if _has_scans(picture, data):
        scans = _count(data, _SCAN)
        if scans * pixels > _PASSES * max_pixels:
            raise ImageError("too_large", f"{picture.format}: {scans:,} scans of {_shown(size)} pixels")


def check_decoding(
    picture: Image.Image, data: Bytes, max_pixels: int, *, turned: bool, stored: tuple[int, int]
) -> None:
    """Of a picture that is about to be decoded in its present mode and scale.

    Args:
        turned: whether a turned copy is made of it.
        stored: its size at full scale.

    Raises:
        ImageError: ``too_large``: the bytes that it takes.
    """
    width, height = picture.size
    size = width * height * _bytes_a_pixel(picture.mode) * (2 if turned else 1)
    size += width * height * _BESIDE.get(str(picture.format), 0)
    if picture.format == "JPEG2000":
        size += _tile_bytes(data)
    if _has_scans(picture, data):  # two bytes for each frequency of all components, whatever the scale
        size += stored[0] * stored[1] * 2 * getattr(picture, "layers", 3)
    _check_bytes(str(picture.format), stored, size, max_pixels)


def check_frames(count: int, size: tuple[int, int], max_pixels: int) -> None:
    """Raises:
    ImageError: ``too_large``: all frames together have too many pixels.
    """
    if count * size[0] * size[1] > _PASSES * max_pixels:
        raise ImageError("too_large", f"{count:,} frames of {_shown(size)} pixels")


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ImageError("too_large", f"{size[0]} x {size[1]} pixels are more than {max_pixels:,}")


def _check_ratio(size: tuple[int, int], length: int) -> None:
    pixels = size[0] * size[1]
    if pixels > _ANY_RATIO_PIXELS and pixels > _PIXELS_A_BYTE * length:
        raise ImageError("too_large", f"{_shown(size)} pixels in a file of {length:,} bytes")


def _check_bytes(name: str, size: tuple[int, int], needed: int, max_pixels: int) -> None:
    most = max(_BYTES_A_PIXEL * max_pixels, _ALWAYS_BYTES)
    if needed > most:
        what = f"take {needed:,} bytes to decode, more than {most:,}"
        raise ImageError("too_large", f"{name}: {_shown(size)} pixels {what}")
    expect(needed)


def _bytes_a_pixel(mode: str) -> int:
    """What Pillow keeps a pixel in."""
    if mode.startswith("I;16"):
        return 2
    return 1 if mode in ("1", "L", "P") else 4


def _has_scans(picture: Image.Image, data: Bytes) -> bool:
    """Whether it is a JPEG file of any number of scans, as libjpeg sees it: progressive, or some components are not in
    the first scan."""
    if picture.format not in ("JPEG", "MPO"):
        return False
    if picture.info.get("progressive"):
        return True
    stream = getattr(picture, "fp", None)
    end = stream.tell() if stream is not None else 0  # of the header of the first scan
    lengths = (6 + 2 * components for components in range(1, getattr(picture, "layers", 1)))
    return any(bytes(data[max(0, end - 2 - one) : end - one + 2]) == _SCAN + bytes([0, one]) for one in lengths)


def _count(data: Bytes, mark: bytes) -> int:
    """How often two bytes follow each other, without a copy of the whole file."""
    starts = range(0, len(data), _PIECE)
    return sum(bytes(data[start : start + _PIECE + 1]).count(mark) for start in starts)


def _tile_bytes(data: Bytes) -> int:
    """Of one tile of a JPEG 2000 file, which its decoder unpacks at once: four for each value."""
    head = bytes(data[:4096])
    place = head.find(b"\xff\x51") + 4
    if place < 4 or len(head) < place + 36:
        return 0
    width, height, _, _, tile_width, tile_height = struct.unpack_from(">6I", head, place + 2)
    components = int.from_bytes(head[place + 34 : place + 36], "big")
    return int(min(width, tile_width) * min(height, tile_height) * 4 * components)


def _webp_size(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _icon_sizes(data: Bytes) -> Iterator[tuple[int, int]]:
    """Of the pictures in an icon file, which need not be what its table says."""
    for number in range(int.from_bytes(data[4:6], "little")):
        entry = bytes(data[6 + 16 * number : 22 + 16 * number])
        start = int.from_bytes(entry[12:16], "little")
        head = bytes(data[start : start + 24])
        if head[:8] == _PNG and len(head) == 24:
            yield int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        elif len(head) == 24:
            width, height = struct.unpack_from("<ii", head, 4)
            yield abs(width), abs(height) // 2
