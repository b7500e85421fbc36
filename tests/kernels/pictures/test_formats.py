"""What Pillow reads is read, but for formats that start other programs."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hash_pictures import encoded, photographs
from PIL import Image

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures import decode, trouble
from imgdedup_spark.kernels.pictures.trouble import formats
from imgdedup_spark.read.folders import ENDINGS

#: Formats that Pillow opens and the job does not.
REFUSED = {"EPS", "WMF", "IPTC", "BUFR", "GRIB", "HDF5", "MPEG", "FPX", "MIC"}


def test_every_format_is_decided_on():
    Image.init()
    assert set(Image.OPEN) - set(formats()) <= REFUSED


def test_folders_take_what_is_decoded():
    Image.init()
    taken = {ending.removeprefix(".") for ending, name in Image.EXTENSION.items() if name in formats()}
    assert taken - ENDINGS == set()


def psd() -> bytes:
    """48 x 32 pixels, not packed; Pillow does not write it."""
    pixels = np.asarray(photographs()[0].resize((48, 32))).transpose(2, 0, 1).tobytes()
    return b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 32, 48, 8, 3) + bytes(12) + b"\0\0" + pixels


@pytest.mark.parametrize("name", ["DDS", "SGI", "PCX", "ICNS", "QOI", "MSP", "XBM", "TGA", "IM", "SPIDER", "BLP"])
def test_written_formats(name):
    picture = photographs()[0].resize((64, 64))
    mode = {"MSP": "1", "XBM": "1", "SPIDER": "F", "BLP": "P"}.get(name, "RGB")
    data = encoded(picture.convert(mode), name)
    expected = Hasher([HashSpec("ahash")]).hash_batch([encoded(Image.open(io.BytesIO(data)), "TIFF")])
    found = Hasher([HashSpec("ahash")]).hash_batch([data])
    assert (found.errors, found.hashes) == ({}, expected.hashes)


def test_a_format_that_is_only_read():
    png = encoded(photographs()[0].resize((48, 32)), "PNG")
    found = Hasher([HashSpec("pixels")]).hash_batch([psd(), png]).hashes[0]
    assert found[0] == found[1]


@pytest.mark.parametrize("data", [encoded(photographs()[0].convert("RGB"), "EPS"), b"\xd7\xcd\xc6\x9a" + bytes(200)])
def test_formats_that_start_programs_are_refused(data):
    assert Hasher([HashSpec("phash")]).hash_batch([data]).errors[0].code == "unknown_format"


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_what_a_plugin_would_read_says_so(monkeypatch):
    without = tuple(name for name in formats() if name != "HEIF")
    for module in (trouble, decode):
        monkeypatch.setattr(module, "formats", lambda: without)
    error = Hasher([HashSpec("phash")]).hash_batch([HEIC]).errors[0]
    assert error.code == "unknown_format"
    assert error.message == "HEIF: read if pillow_heif is installed (extra `formats`)"


@pytest.mark.parametrize(("name", "how"), [("HEIF", {"quality": 95}), ("JXL", {"quality": 95})])
def test_plugins(name, how):
    assert name in formats()
    picture = photographs()[0]
    near, cut = encoded(picture, name, **how), encoded(picture, name, **how)[:2000]
    found = Hasher([HashSpec("phash")]).hash_batch([encoded(picture, "PNG"), near, cut])
    assert sum(a != b for a, b in zip(*(f"{int(one, 16):064b}" for one in found.hashes[0][:2]), strict=True)) <= 2
    assert found.errors[2].code in ("corrupt", "truncated")
