"""Files that viewers show although something beside the picture is wrong."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from hash_pictures import encoded, photographs
from PIL import Image, ImageCms, PngImagePlugin

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.reading import Reading

SPECS = [HashSpec("phash"), HashSpec("pixels")]
STRICT = Reading(tolerant=False)
JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 2},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}


def jpeg(kind: str, size: tuple[int, int] = (421, 300)) -> bytes:
    options = dict(JPEGS[kind])
    return encoded(photographs()[0].resize(size).convert(options.pop("mode", "RGB")), "JPEG", **options)


def with_chunk(data: bytes, kind: bytes, body: bytes, *, sum_is_right: bool = True, before: bytes = b"IDAT") -> bytes:
    checksum = zlib.crc32(kind + body) ^ (0 if sum_is_right else 1)
    place = data.index(before) - 4
    return data[:place] + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum) + data[place:]


def text(**options: object) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", json.dumps([{"id": k} for k in range(120_000)]), **options)  # type: ignore[arg-type]
    return info


def xmp() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "history " * 200_000, zip=True)
    return info


PLAIN = encoded(photographs()[0], "PNG")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PNGS = {
    "a long packed text": encoded(photographs()[0], "PNG", pnginfo=text(zip=True)),
    "a long packed international text": encoded(photographs()[0], "PNG", pnginfo=xmp()),
    "a long profile": encoded(photographs()[0], "PNG", icc_profile=PROFILE + b"\0" * (2 << 20)),
    **{
        f"a wrong checksum of {kind.decode()} before {before.decode()}": with_chunk(
            PLAIN, kind, body, sum_is_right=False, before=before
        )
        for before in (b"IDAT", b"IEND")
        for kind, body in (
            (b"tEXt", b"a\0b"),
            (b"zTXt", b"a\0\0" + zlib.compress(b"b")),
            (b"tIME", b"\7\xea\1\1\1\1\1"),
        )
    },
    "a long packed text behind": with_chunk(PLAIN, b"zTXt", b"a\0\0" + zlib.compress(b"b" * (2 << 20)), before=b"IEND"),
    "an unknown compression": with_chunk(PLAIN, b"zTXt", b"a\0\5" + zlib.compress(b"b")),
}


def codes(data: bytes, **options: object) -> tuple[list[str], list[str]]:
    """Of errors, and of warnings."""
    result = Hasher(SPECS, **options).hash_batch([data])  # type: ignore[arg-type]
    return [one.code for one in result.errors.values()], [one.code for one in result.facts.warnings.get(0, [])]


@pytest.mark.parametrize("name", PNGS)
@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_png_with_faulty_texts(name: str, decode: str) -> None:
    result = Hasher(SPECS, decode).hash_batch([PLAIN, PNGS[name]])  # type: ignore[arg-type]
    assert result.errors == {}
    for hashes in result.hashes:
        assert hashes[0] == hashes[1]
    # What comes behind the pixels is not looked at unless it stops the decoder.
    found = [one.code for one in result.facts.warnings.get(1, [])]
    assert found == ([] if "checksum" in name and "IEND" in name else ["odd_text"])
    assert 0 not in result.facts.warnings


def test_without_tolerance_they_are_errors() -> None:
    assert codes(PNGS["a long packed text"], reading=STRICT) == (["corrupt"], [])
    whole = jpeg("baseline")
    assert codes(whole, reading=STRICT) == ([], [])
    assert codes(whole[:-2], reading=STRICT) == (["truncated"], [])
    assert codes(whole + b"more", reading=STRICT) == (["corrupt"], [])


def test_a_long_plain_text_is_no_fault() -> None:
    assert codes(encoded(photographs()[0], "PNG", pnginfo=text())) == ([], [])


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS"])
def test_what_pixels_depend_on_must_be_whole(kind: bytes) -> None:
    palette = photographs()[0].quantize(16)
    data = bytearray(encoded(palette, "PNG", transparency=3))
    place = data.index(kind) + 4 + int.from_bytes(data[data.index(kind) - 4 : data.index(kind)], "big")
    data[place] ^= 1
    errors, _ = codes(bytes(data))
    assert errors == ["corrupt"]


def test_orientation_outlives_a_faulty_text() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = with_chunk(encoded(photographs()[0], "PNG", exif=exif), b"tEXt", b"a\0b", sum_is_right=False)
    assert Picture(data).size == photographs()[0].size[::-1]
    assert Picture(data).rgb().size == photographs()[0].size[::-1]


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("size", [(421, 300), (64, 64), (17, 5), (1400, 1100)])
def test_jpeg_without_its_end(kind: str, size: tuple[int, int]) -> None:
    whole = jpeg(kind, size)
    for data in (whole[:-2], whole[:-1], whole[:-2] + b"\0" * 700, whole[:-2] + b"\xff"):
        for decode in ("fast", "exact"):
            result = Hasher(SPECS, decode).hash_batch([whole, data])  # type: ignore[arg-type]
            assert result.errors == {}
            for hashes in result.hashes:
                assert hashes[0] == hashes[1]
            assert [one.code for one in result.facts.warnings[1]] == ["odd_end"]
            assert 0 not in result.facts.warnings


@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_with_bytes_behind_it(kind: str) -> None:
    whole = jpeg(kind)
    for tail in (b"\0", b"a film " * 5000, b"\0" * 4096, jpeg("baseline", (40, 30))[:-5]):
        result = Hasher(SPECS).hash_batch([whole, whole + tail])
        assert result.errors == {}
        assert result.hashes[1][0] == result.hashes[1][1]
        assert [one.code for one in result.facts.warnings[1]] == ["odd_end"]


@pytest.mark.parametrize("kind", JPEGS)
def test_a_cut_scan_is_an_error(kind: str) -> None:
    whole = jpeg(kind)
    places = [*np.linspace(len(whole) // 3, len(whole) - 3, 12).astype(int).tolist(), len(whole) - 12, len(whole) - 40]
    for place in places:
        for padding in (b"", b"\0" * 5000):
            errors, _ = codes(whole[:place] + padding)
            # The last byte is padding or the rest of one number of one block.
            assert errors == ["truncated"] or place >= len(whole) - 3, place


def test_a_progressive_file_cut_between_its_scans() -> None:
    whole = jpeg("progressive")
    scans = [place for place in range(len(whole) - 1) if whole[place : place + 2] in (b"\xff\xda", b"\xff\xc4")]
    for place in scans[2:]:
        assert codes(whole[:place])[0] in (["truncated"], ["corrupt"])


def test_png_ends() -> None:
    assert codes(PLAIN + b"more") == ([], ["odd_end"])
    assert codes(PLAIN[:-12]) == ([], ["odd_end"])
    assert codes(PLAIN[: len(PLAIN) // 2])[0] == ["truncated"]


def test_settings_that_all_threads_share_are_left_alone() -> None:
    from PIL import ImageFile

    codes(PNGS["a long packed text"])
    codes(jpeg("baseline")[:-2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1 << 20


def test_a_bomb_of_text_is_not_unpacked() -> None:
    """Two gigabytes of zeros in two megabytes."""
    squeezer = zlib.compressobj(9)
    block = b"\0" * (1 << 20)
    packed = b"".join(squeezer.compress(block) for _ in range(300)) + squeezer.flush()
    assert codes(with_chunk(PLAIN, b"zTXt", b"a\0\0" + packed)) == ([], ["odd_text"])
