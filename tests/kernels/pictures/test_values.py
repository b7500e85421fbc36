"""Depth and transparency: what people see of a picture, and the very values that ``pixels`` hashes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hash_pictures import encoded, photographs
from PIL import Image, ImageDraw

from imgdedup_spark.kernels.hashes import METHODS, HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.reading import Reading
from imgdedup_spark.kernels.pictures.values import grey_levels

HASHES = [HashSpec(method) for method in METHODS if method not in ("md5", "pixels")]
DEEP = [HashSpec("phash"), HashSpec("dhash"), HashSpec("pdq"), HashSpec("pixels"), HashSpec("colorhash")]


def hashes(files: list[bytes], method: str = "pixels", **options: object) -> list[str | None]:
    result = Hasher([HashSpec(method)], **options).hash_batch(files)  # type: ignore[arg-type]
    assert result.errors == {}
    return result.hashes[0]


def grey(number: int, size: tuple[int, int] = (120, 90)) -> np.ndarray:
    return np.asarray(photographs()[number].convert("L").resize(size), np.float64)


def sixteen(number: int) -> Image.Image:
    return Image.fromarray((grey(number) * 220 + 3000).astype(np.uint16))


def float_tiff(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values.astype(np.float32)), "TIFF")


@pytest.mark.parametrize("decode", ["fast", "exact"])
@pytest.mark.parametrize("method", ["phash", "dhash", "ahash", "whash", "pdq", "double_gradient", "pixels"])
def test_sixteen_bits_are_scaled(method: str, decode: str) -> None:
    files = [encoded(sixteen(number), "PNG") for number in range(4)]
    found = hashes(files, method, decode=decode)
    assert len(set(found)) == 4
    assert hashes([encoded(sixteen(0), "TIFF")], method, decode=decode) == found[:1]
    big = Image.frombytes("I;16B", (120, 90), np.asarray(sixteen(0)).astype(">u2").tobytes())
    assert hashes([encoded(big, "TIFF")], method, decode=decode) == found[:1]


def test_sixteen_bits_look_like_their_eight() -> None:
    levels = np.round(grey(0)).astype(np.uint8)
    deep = encoded(Image.fromarray(levels.astype(np.uint16) * 257), "PNG")
    assert np.array_equal(np.asarray(Picture(deep).grey()), levels)
    assert hashes([deep], "phash") == hashes([encoded(Image.fromarray(levels), "PNG")], "phash")


def test_integers_of_32_bits() -> None:
    fits = encoded(Image.fromarray(np.asarray(sixteen(0)).astype(np.int32)), "TIFF")
    assert hashes([fits]) == hashes([encoded(sixteen(0), "TIFF")])  # values of 16 bits, in whatever they are kept
    wide = (grey(0) * 1_000_000 - 7).astype(np.int32)
    files = [encoded(Image.fromarray(wide + step), "TIFF") for step in (0, 1)]
    assert len(set(hashes(files))) == 2
    # By their own range: only the order of magnitude differs.
    assert len(set(hashes(files, "phash"))) == 1
    assert np.asarray(Picture(files[0]).grey()).max() == 255


def test_floats_are_scaled_by_their_own_range() -> None:
    unit = grey(0) / 255
    files = [float_tiff(unit), float_tiff(unit * 8000 - 300), float_tiff(grey(1) / 255)]
    found = hashes(files, "phash")
    assert found[0] == found[1] != found[2]
    assert len(set(hashes(files))) == 3  # the values differ


def test_what_is_no_number() -> None:
    odd = grey(0) / 255
    odd[:4], odd[4:8], odd[8:12] = np.nan, np.inf, -np.inf
    seen = np.asarray(Picture(float_tiff(odd)).grey())
    assert (seen[:4] == 0).all()
    assert (seen[4:8] == 255).all()
    assert (seen[8:12] == 0).all()
    assert seen[12:].min() == 0
    assert seen[12:].max() == 255
    assert (np.asarray(Picture(float_tiff(np.full((9, 9), np.nan))).grey()) == 0).all()
    assert (np.asarray(Picture(float_tiff(np.full((9, 9), 3.5))).grey()) == 0).all()


@pytest.mark.parametrize("shape", ["RGB", "RGBA", "LA"])
def test_the_lower_half_of_sixteen_bit_colors(shape: str) -> None:
    """Pillow decodes them to 8 bits; ``pixels`` sees all 16."""
    high = np.random.default_rng(1).integers(0, 256, (20, 30, len(shape)))
    files = [png_of_sixteen_bits(high * 256 + low, shape) for low in (3, 200)]
    assert len(set(hashes(files))) == 2
    assert hashes(files[:1]) == hashes([png_of_sixteen_bits(high * 256 + 3, shape, level=1)])
    assert len(set(hashes(files, "phash"))) == 1


def png_of_sixteen_bits(values: np.ndarray, mode: str, level: int = 9) -> bytes:
    """(height, width, channels) of 0 to 65535; Pillow cannot write that."""
    height, width, _ = values.shape
    kind = {"RGB": 2, "LA": 4, "RGBA": 6}[mode]
    lines = values.astype(">u2").reshape(height, -1)
    body = b"".join(b"\0" + line.tobytes() for line in lines)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(body, level)),
        (b"IEND", b""),
    ]
    packed = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def icon(number: int) -> Image.Image:
    """One color; the shape is in the opacity alone."""
    opacity = Image.new("L", (128, 128), 0)
    draw = ImageDraw.Draw(opacity)
    shapes: list[Callable[[], None]] = [
        lambda: draw.ellipse((16, 16, 112, 112), fill=255),
        lambda: draw.rectangle((8, 50, 120, 78), fill=255),
        lambda: draw.polygon([(64, 8), (120, 120), (8, 120)], fill=255),
        lambda: draw.line([(0, 0), (127, 127)], fill=255, width=24),
    ]
    shapes[number]()
    made = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    made.putalpha(opacity)
    return made


def on(ground: str, picture: Image.Image) -> Image.Image:
    laid = Image.new("RGB", picture.size, ground)
    laid.paste(picture.convert("RGB"), mask=picture.convert("RGBA").getchannel("A"))
    return laid


def forms(picture: Image.Image) -> dict[str, bytes]:
    """A picture of black or nothing in every form that transparency has."""
    opacity = picture.getchannel("A")
    grey_alpha = Image.merge("LA", (Image.new("L", picture.size, 0), opacity))
    inverse = Image.eval(opacity, lambda level: 255 - level)  # black shape, white where nothing is
    palette = inverse.convert("P")
    premultiplied = Image.frombytes("RGBA", picture.size, picture.convert("RGBa").tobytes())
    return {
        "PNG": encoded(picture, "PNG"),
        "WEBP": encoded(picture, "WEBP", lossless=True),
        "TIFF": encoded(picture, "TIFF"),
        "TGA": encoded(picture, "TGA"),
        "LA": encoded(grey_alpha, "PNG"),
        "L, one level": encoded(inverse, "PNG", transparency=255),
        "RGB, one color": encoded(inverse.convert("RGB"), "PNG", transparency=(255, 255, 255)),
        "1 bit": encoded(inverse.convert("1"), "PNG", transparency=1),
        "I;16": encoded(Image.fromarray(np.asarray(inverse).astype(np.uint16) * 257), "PNG", transparency=65535),
        "palette": encoded(palette, "PNG", transparency=255),
        "palette of opacities": encoded(palette, "PNG", transparency=bytes([255] * 255 + [0])),
        "GIF": encoded(palette, "GIF", transparency=255),
        "premultiplied": encoded(premultiplied, "TIFF", tiffinfo={338: 1}),
    }


@pytest.mark.parametrize("form", forms(icon(0)))
@pytest.mark.parametrize("ground", ["white", "#10c040"])
def test_transparency_lies_on_the_background(form: str, ground: str) -> None:
    reading = Reading(background=ground)
    for number in range(4):
        expected = np.asarray(on(ground, icon(number)))
        assert np.array_equal(np.asarray(Picture(forms(icon(number))[form], reading=reading).rgb()), expected)


@pytest.mark.parametrize("method", METHODS)
def test_icons_that_differ_in_opacity_alone(method: str) -> None:
    files = [encoded(icon(number), "PNG") for number in range(4)]
    # How much of it is black, and nothing of a color.
    assert len(set(hashes(files, method))) == {"colorhash": 2, "color": 1}.get(method, 4)
    if method not in ("md5", "pixels"):
        assert hashes([encoded(on("white", icon(1)), "PNG")], method) == hashes(files[1:2], method)


def test_pixels_of_every_form_of_transparency() -> None:
    for number in (0, 3):
        found = forms(icon(number))
        del found["I;16"]  # deeper
        assert len(set(hashes(list(found.values())))) == 1
    assert hashes([encoded(icon(0), "PNG")]) != hashes([encoded(on("white", icon(0)), "PNG")])


def test_a_transparent_color_of_an_animation() -> None:
    frames = [icon(number) for number in range(4)]
    for name, options in (("GIF", {"disposal": 2}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = encoded(frames[0], name, save_all=True, append_images=frames[1:], **options)
        for frame, shape in zip(Picture(data).sequence(), frames, strict=True):
            if name != "PNG":  # whose frames are painted over each other
                assert np.array_equal(np.asarray(frame.rgb()), np.asarray(on("white", shape)))


def test_opacity_that_says_nothing() -> None:
    plain = photographs()[0]
    full = plain.copy()
    full.putalpha(255)
    found = [encoded(one, "PNG") for one in (plain, full)]
    for spec in [*HASHES, HashSpec("pixels")]:
        assert len(set(hashes(found, spec.method))) == 1
    both = plain.convert("L"), plain.convert("LA")
    assert len(set(hashes([encoded(one, "PNG") for one in both]))) == 1


def test_pixels_keep_other_colors_apart() -> None:
    bands = [band.resize((60, 40)) for band in photographs()[0].split()]
    lab = [Image.merge("LAB", [bands[0], *more]) for more in (bands[1:], bands[:2])]
    cmyk = [Image.merge("CMYK", [*bands, Image.new("L", (60, 40), black)]) for black in (254, 255)]
    assert len(set(hashes([encoded(one, "TIFF") for one in (*lab, *cmyk)]))) == 4
    jpeg = encoded(cmyk[0], "JPEG", quality=100, subsampling=0)
    again = Image.open(io.BytesIO(jpeg)).convert("CMYK")
    assert hashes([jpeg]) == hashes([encoded(again, "TIFF")])


def test_one_bit_and_palettes_are_their_colors() -> None:
    bits = photographs()[0].convert("1")
    same = [encoded(bits, "PNG"), encoded(bits.convert("L"), "PNG"), encoded(bits, "TIFF", compression="group4")]
    assert len(set(hashes(same))) == 1
    palette = photographs()[0].quantize(32)
    assert len(set(hashes([encoded(palette, "PNG"), encoded(palette.convert("RGB"), "BMP")]))) == 1


@pytest.mark.parametrize("size", [(1, 1), (53, 37), (700, 500), (5000, 3600)], ids=str)
def test_grey_levels_are_the_pictures_in_whatever_memory_it_lies(size):
    levels = np.random.default_rng(0).integers(0, 255, size[::-1], np.uint8)
    whole = Image.frombytes("L", size, levels.tobytes())  # of 18 megapixels in several pieces
    pictures = [
        whole,
        Image.fromarray(levels),  # in NumPy's memory
        Image.frombuffer("L", size, levels.tobytes(), "raw", "L", 0, -1),  # upside down
        whole.transpose(Image.Transpose.ROTATE_90),
        whole.crop((-3, 0, size[0] + 2, size[1])),
        whole.reduce(2),
    ]
    for picture in pictures:
        assert np.array_equal(grey_levels(picture), np.asarray(picture))
        assert not grey_levels(picture).flags.writeable
