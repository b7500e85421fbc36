"""Files of a few bytes that ask for gigabytes or minutes: name → what makes it, and what is said of it."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

SIDE = 13_000


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, color: int, *more: bytes) -> bytes:
    """One whose header says so, with nearly no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    # As long as a blank picture of the size would be.
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)) + bytes(width * height // 1000))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + pixels + chunk(b"IEND", b"")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return exif.tobytes().removeprefix(b"Exif\0\0")


def webp(kind: bytes, body: bytes) -> bytes:
    content = b"WEBP" + kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(content)) + content


def scans(side: int, count: int, *, two: bool = False, **how: object) -> bytes:
    """A JPEG file whose last scan is there so many times.

    Args:
        two: of three components, two of which are in its scans.
    """
    stream = io.BytesIO()
    Image.new("RGB" if two else "L", (side, side), "gray" if two else 128).save(stream, "JPEG", **how)
    data = stream.getvalue()
    last = data.rfind(b"\xff\xda")
    if two:
        data = data[:last] + b"\xff\xda\0\x0a\2" + data[last + 5 : last + 9] + data[last + 11 :]
    return data[:-2] + data[last:-2] * count + data[-2:]


def icon(content: bytes) -> bytes:
    return b"\0\0\1\0\1\0" + bytes([0, 0, 0, 0, 1, 0, 32, 0]) + struct.pack("<II", len(content), 22) + content


def avif() -> bytes:
    """A picture whose container says that it is larger."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(stream, "AVIF")
    small, large = (b"ispe" + bytes(4) + struct.pack(">II", side, side) for side in (64, SIDE))
    return stream.getvalue().replace(small, large)


def bitmap_rle() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 4, 2, 20_000, 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", 118 + 20_000, 0, 0, 118) + head + bytes(64 + 20_000)


CANVAS = (SIDE - 1).to_bytes(3, "little") * 2
BOMBS = {
    "scans": (lambda: scans(4000, 300, progressive=True), r"JPEG: 30\d scans of 4,000 x 4,000 pixels"),
    "scans, not progressive": (lambda: scans(4000, 300, two=True), r"JPEG: 30\d scans of 4,000 x 4,000 pixels"),
    "webp canvas": (lambda: webp(b"VP8X", b"\2\0\0\0" + CANVAS), "13,000 x 13,000 pixels in a file of 30 bytes"),
    "webp": (
        lambda: webp(b"VP8L", b"\x2f" + struct.pack("<I", (SIDE - 1) * ((1 << 14) + 1)) + bytes(9)),
        "13,000 x 13,000 pixels in a file of 34 bytes",
    ),
    "webp, padded": (
        lambda: webp(b"VP8X", b"\2\0\0\0" + CANVAS) + bytes(20_000),
        "WEBP: 13,000 x 13,000 pixels take 2,028,000,000 bytes to decode, more than 715,827,880",
    ),
    "avif": (avif, r"13,000 x 13,000 pixels in a file of \d+ bytes"),
    "avif, padded": (
        lambda: avif() + chunk(b"free", bytes(20_000)),
        "AVIF: 13,000 x 13,000 pixels take [0-9,]+ bytes to decode, more than 715,827,880",
    ),
    "deep png, turned": (
        lambda: png(13_300, 13_300, 16, 6, chunk(b"eXIf", turned())),
        "PNG: 13,300 x 13,300 pixels take 1,415,120,000 bytes to decode, more than 715,827,880",
    ),
    "bitmap": (bitmap_rle, "BMP: 13,000 x 13,000 pixels are more than 25,000,000, the most of formats that are slow"),
    "maxval": (lambda: b"P5 6000 6000 100\n" + bytes(20_000), "PPM: 6,000 x 6,000 pixels are more than 25,000,000"),
    "text": (lambda: b"P2 6000 6000 255\n" + b"1 " * 20_000, "PPM: 6,000 x 6,000 pixels are more than 25,000,000"),
    "icon": (lambda: icon(png(20_000, 20_000, 8, 2)), "20000 x 20000 pixels are more than 178,956,970"),
    "ratio": (lambda: b"P5 9000 9000 255\n" + bytes(999), "9,000 x 9,000 pixels in a file of 1,016 bytes"),
}
