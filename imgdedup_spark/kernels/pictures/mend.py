"""Nearly whole files: what viewers show although something beside the picture is wrong.

Nothing of Pillow's own settings is changed, which all threads share: the faulty part is cut out of a copy of the bytes,
or the missing end is added.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.trouble import Bytes

__all__ = ["mended", "odd_end"]
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_END = b"\xff\xd9"
_PROGRESSIVE, _SCAN = 0xC2, 0xDA  # kinds of JPEG segments
# Texts longer than that are not read: Pillow's own limit of what one may unpack to.
_LONGEST_TEXT = 1 << 20
# Chunks without which a PNG shows other pixels, although a reader need not know them.
_SHOWN = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})


def mended(data: Bytes, name: str | None) -> tuple[bytes, ImageError] | None:
    """A file's bytes as they should be, and what was wrong with them; None if it is something else.

    Args:
        data: a file that could not be read.
        name: the format that it seems to have.
    """
    if name == "PNG":
        return _mended_png(bytes(data))
    if name == "JPEG":
        return _mended_jpeg(bytes(data))
    return None


def odd_end(data: Bytes, name: str | None) -> ImageError | None:
    """What is wrong with the end of a file whose decoder was content.

    Raises:
        ImageError: ``truncated``, for a JPEG file whose decoder took what fills up a cut file for a part of it.
    """
    if name == "JPEG":
        if bytes(data[-2:]) == _JPEG_END:
            return None
        if not _has_end(bytes(data)):
            found = _mended_jpeg(bytes(data))
            if found is None:
                raise ImageError("truncated", "JPEG: the picture ends before the file does")
            return found[1]
    elif name != "PNG" or bytes(data[-8:-4]) == b"IEND":
        return None
    return ImageError("odd_end", f"{name}: bytes behind the end of the picture, or no end at all")


def _mended_jpeg(data: bytes) -> tuple[bytes, ImageError] | None:
    """With an end marker, if nothing but that is missing."""
    body = data.rstrip(b"\0").rstrip(b"\xff")
    # A decoder makes up what is missing in a file that ends too early. So it is given something to go on with, twice:
    # the pictures are the same only if it had all it needed.
    first, second = (_pixels(body + more + _JPEG_END) for more in (b"", b"\x4d\x9a\x35\x6b\xd2" * 20))
    if first is None or first != second or not _has_all_scans(data):
        return None
    return body + _JPEG_END, ImageError("odd_end", "JPEG: the end marker is missing")


def _pixels(data: bytes) -> bytes | None:
    try:
        return Image.open(BytesIO(data), formats=["JPEG"]).tobytes()
    except Exception:
        return None


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans of a progressive file, if it is one, bring every bit of every frequency."""
    missing = set()
    for kind, body, _ in _jpeg_segments(data):
        if kind == _PROGRESSIVE:
            missing = {(part, place) for part in body[6::3] for place in range(64)}
        elif kind == _SCAN and len(body) > 4 and missing:
            parts, (first, last, bits) = body[1:-3:2], body[-3:]
            if bits & 15 == 0:  # the lowest bit, too
                missing -= {(part, place) for part in parts for place in range(first, last + 1)}
    return not missing


def _has_end(data: bytes) -> bool:
    scans = (end for kind, _, end in _jpeg_segments(data) if kind == _SCAN)
    return data.find(_JPEG_END, next(scans, 0)) >= 0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Kind, content and end of what has a length. Entropy-coded data have nothing but restarts and stuffing in them."""
    place = 2
    while 0 <= (place := data.find(b"\xff", place)) < len(data) - 4:
        kind = data[place + 1]
        if kind == 0xFF:
            place += 1
            continue
        if kind == 0 or 0xD0 <= kind <= 0xD9:
            place += 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield kind, data[place + 4 : place + 2 + length], place + 2 + length
        place += 2 + length


def _mended_png(data: bytes) -> tuple[bytes, ImageError] | None:
    """Without chunks of text, or of anything else that no pixel depends on, that cannot be read."""
    kept, faults = [_PNG], []
    for kind, body, checksum in _png_chunks(data):
        fault = _png_fault(kind, body, checksum)
        if fault:
            faults.append(f"{kind.decode('latin-1')} chunk, which has {fault}")
        else:
            kept.append(struct.pack(">I", len(body)) + kind + body + checksum)
    if not faults:
        return None
    return b"".join(kept), ImageError("odd_text", f"PNG: read without its {faults[0]}")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, content and checksum of each chunk; the last one may be cut off."""
    place = len(_PNG)
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        start, end = place + 8, place + 8 + length
        yield data[place + 4 : start], data[start:end], data[end : end + 4]
        place = end + 4


def _png_fault(kind: bytes, body: bytes, checksum: bytes) -> str | None:
    if not kind[:1].islower() or kind in _SHOWN or len(checksum) < 4:
        return None
    if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
        return "a wrong checksum"
    if kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
        return _text_fault(kind, body)
    return None


def _text_fault(kind: bytes, body: bytes) -> str | None:
    packed = body.partition(b"\0")[2]
    if kind == b"iTXt" and packed[:1] == b"\1":
        packed = packed[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif kind in (b"zTXt", b"iCCP"):
        if packed[:1] != b"\0":
            return "an unknown compression"
        packed = packed[1:]
    else:
        return "more than a megabyte" if len(body) > _LONGEST_TEXT else None
    try:
        text = zlib.decompressobj().decompress(packed, _LONGEST_TEXT)
    except zlib.error:
        return "a content that cannot be unpacked"
    return "more than a megabyte" if len(text) >= _LONGEST_TEXT else None
