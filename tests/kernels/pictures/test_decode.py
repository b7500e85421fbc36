"""Opening, sizes, orientation, scales, and everything that can be wrong with a file."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hash_pictures import FORMATS, awkward, encoded, files, photographs, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.grids import fast_side
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.reading import READING, Reading
from imgdedup_spark.kernels.pictures.trouble import quiet

SAMPLES = {
    **{name: encoded(photographs()[1], name) for name in FORMATS},
    "AVIF": encoded(photographs()[1], "AVIF") if "AVIF" in Image.SAVE else encoded(photographs()[1], "PPM"),
    "JPEG2000": encoded(photographs()[1], "JPEG2000"),
    "ICO": encoded(photographs()[1], "ICO"),
    "TGA": encoded(photographs()[1], "TGA"),
}


def code(data: bytes, **options: int) -> str:
    with pytest.raises(ImageError) as caught, quiet():
        Picture(data, **options).grey()
    message = caught.value.message
    assert message
    assert "\n" not in message
    assert " at 0x" not in message
    return caught.value.code


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("fast", [True, False])
def test_formats(name: str, fast: bool) -> None:
    picture = Picture(SAMPLES[name], fast=fast)
    grey = picture.grey()
    assert grey.mode == "L"
    assert grey.size == picture.size
    if name != "ICO":  # an icon is scaled down when it is written
        assert picture.size == photographs()[1].size
    difference = np.abs(np.asarray(grey, int) - np.asarray(picture.rgb().convert("L"), int))
    assert difference.mean() < 0.5  # a JPEG's own luminance against that of its rounded and clipped RGB


@pytest.mark.parametrize("program", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.7\n"])
def test_formats_that_start_other_programs_are_unknown(program: bytes) -> None:
    assert code(program + b"x" * 100) == "unknown_format"


@pytest.mark.parametrize("data", [b"not a picture", b"\0" * 64, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"x"])
def test_unknown(data: bytes) -> None:
    assert code(data) == "unknown_format"


def test_empty() -> None:
    assert code(b"") == "empty"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.9])
def test_truncated(name: str, part: float) -> None:
    length = max(16, int(len(SAMPLES[name]) * part))
    assert code(SAMPLES[name][:length]) == "truncated"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_corrupt_header(name: str) -> None:
    data = SAMPLES[name]
    assert code(data[:16] + b"\x55" * 40 + data[56:]) == "corrupt"


def test_corrupt_pixels() -> None:
    data = bytearray(SAMPLES["PNG"])
    start = data.index(b"IDAT") + 4
    data[start : start + 40] = b"\xaa" * 40
    assert code(bytes(data)) == "corrupt"


@pytest.mark.parametrize("name", FORMATS)
def test_too_large_is_told_from_the_header(name: str) -> None:
    width, height = photographs()[1].size
    Picture(SAMPLES[name], max_pixels=width * height)
    with pytest.raises(ImageError) as caught:
        Picture(SAMPLES[name], max_pixels=width * height - 1)
    assert caught.value.code == "too_large"
    assert str(width) in caught.value.message


def test_a_bomb_is_not_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
    assert code(bomb) == "too_large"
    webp = bytearray(encoded(Image.new("RGB", (8, 8)), "WEBP"))
    webp[26:30] = struct.pack("<HH", 16383, 16383)
    assert code(bytes(webp)) == "too_large"


def test_a_limit_above_pillows_own() -> None:
    """Pillow would refuse 16,000 x 12,000 pixels; a user may allow them (here one bit each)."""
    data = encoded(Image.new("1", (16_000, 12_000)), "TIFF", compression="group4")
    assert code(data) == "too_large"
    assert Picture(data, max_pixels=200_000_000).size == (16_000, 12_000)
    assert code(data) == "too_large"  # the default limit still holds


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("fast", [True, False])
def test_orientation(orientation: int, name: str, fast: bool) -> None:
    upright = photographs()[0]
    stored, exif = turned(upright, orientation)
    data = encoded(stored, name, exif=exif)
    assert Picture(data, fast=fast).size == upright.size  # from the header
    picture = Picture(data, fast=fast)
    assert picture.grey(64).size == (upright.size if not fast or name != "JPEG" else (106, 75))
    assert picture.size == upright.size
    with Image.open(io.BytesIO(data)) as file:
        assert picture.rgb().tobytes() == ImageOps.exif_transpose(file).tobytes()


def test_png_with_its_orientation_after_its_pixels() -> None:
    stored, exif = turned(photographs()[0], 6)
    data = encoded(stored, "PNG")
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    end = data.index(b"IEND") - 4
    data = data[:end] + chunk + data[end:]
    assert Picture(data).size == photographs()[0].size
    picture = Picture(data)
    assert picture.rgb().tobytes() == photographs()[0].tobytes()


def test_broken_exif_data_do_not_cost_the_picture() -> None:
    data = encoded(photographs()[0], "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with quiet():
        assert Picture(data).size == photographs()[0].size
        Picture(data).grey()


def test_jpeg_scales() -> None:
    big = photographs()[0].resize((2100, 1500))
    for options in ({}, {"progressive": True}):
        data = encoded(big, "JPEG", **options)
        picture = Picture(data)
        assert picture.grey(256).size == (525, 375)
        assert picture.grey(128).size == (263, 188)  # 1/8, rounded up
        assert picture.grey(512).size == (1050, 750)
        assert picture.grey(1500).size == picture.grey().size == (2100, 1500)
        assert picture.size == (2100, 1500)
    assert Picture(data, fast=False).grey(128).size == (2100, 1500)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_scales_without_colour_and_with_four_colours(mode: str) -> None:
    big = photographs()[0].resize((1050, 750))
    data = encoded(big.convert(mode), "JPEG", quality=95)
    reduced = Picture(data).grey(256)
    assert (reduced.mode, reduced.size) == ("L", (525, 375))
    expected = np.asarray(Picture(data, fast=False).grey().reduce(2), int)
    assert np.abs(np.asarray(reduced, int) - expected).mean() < 2


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(2, 256))
def test_fast_decoding_keeps_to_its_oversampling(width: int, height: int, grid: int) -> None:
    data = encoded(Image.new("L", (width, height)), "JPEG")
    shortest = min(Picture(data).grey(fast_side(grid)).size)
    assert shortest >= min(8 * grid, width, height)


def test_elongated_pictures_are_not_scaled_below_their_short_side() -> None:
    data = encoded(photographs()[0].resize((4000, 40)), "JPEG")
    assert Picture(data).grey(256).size == (4000, 40)


def test_lab_tiff() -> None:
    data = encoded(Image.merge("LAB", photographs()[0].split()), "TIFF")
    assert Picture(data).grey().tobytes() == photographs()[0].split()[0].tobytes()


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "green", "blue")]
    for name in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if name == "WEBP" else {}
        data = encoded(frames[0], name, save_all=True, append_images=frames[1:], **options)
        assert Picture(data).rgb().getpixel((5, 5)) == (255, 0, 0)


FUZZED = [
    data
    for picture in (photographs()[1].resize((60, 40)), awkward()[5])
    for pair, data in files(picture).items()
    if pair[0] in ("RGB", "P", "RGBA", "CMYK")
] + [data for name, data in SAMPLES.items() if name in ("AVIF", "JPEG2000", "ICO", "TGA")]
FUZZED += [
    encoded(first.resize((60, 40)), name, save_all=True, append_images=[one.resize((60, 40)) for one in rest])
    for first, *rest in (photographs()[:3],)
    for name in ("GIF", "PNG", "WEBP", "TIFF")
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_files_never_raise_anything_else(data: st.DataObject) -> None:
    mutant = bytearray(data.draw(st.sampled_from(FUZZED)))
    for _ in range(data.draw(st.integers(0, 6))):
        # Headers are where a changed byte does most harm.
        place = data.draw(st.integers(0, min(len(mutant), data.draw(st.sampled_from((40, 400, 10**6)))) - 1))
        mutant[place] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(mutant)), st.integers(0, len(mutant))))
    batch = [bytes(mutant[:length])]
    for decode, reading in (("fast", READING), ("exact", Reading(frames="all", tolerant=False))):
        # A small limit keeps mutated sizes from costing seconds.
        specs = [HashSpec("dhash"), HashSpec("pixels")]
        hasher = Hasher(specs, decode, max_pixels=1_000_000, reading=reading)  # type: ignore[arg-type]
        first, second = hasher.hash_batch(batch), hasher.hash_batch(batch)
        assert first.hashes == second.hashes
        assert [(e.code, e.message) for e in first.errors.values()] == [
            (e.code, e.message) for e in second.errors.values()
        ]
        for error in first.errors.values():
            assert "\n" not in error.message
            assert "0x" not in error.message


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]),
)
def test_arbitrary_bytes(tail: bytes, start: bytes) -> None:
    result = Hasher([HashSpec("dhash")], max_pixels=1_000_000).hash_batch([start + tail])
    assert set(result.errors) <= {0}
