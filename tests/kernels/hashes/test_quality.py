"""Flat pictures: how flat one is, and what stands for its hash."""

from __future__ import annotations

import numpy as np
import pytest
from hash_pictures import encoded, photographs
from PIL import Image, ImageDraw

from imgdedup_spark.kernels.hashes import METHODS, HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.hashes.quality import FLOOR, SIDE, qualities, sample
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS
from imgdedup_spark.kernels.pictures.frames import Frame
from imgdedup_spark.kernels.pictures.reading import Decode

HASHES = [method for method in METHODS if method not in ("md5", "pixels")]
COLORS = {
    "red": (220, 20, 20),
    "green": (20, 160, 20),
    "blue": (20, 20, 220),
    "white": (255, 255, 255),
    "grey": (90, 90, 90),
    "black": (0, 0, 0),
}


def flat(files: list[bytes], method: str = "phash", decode: Decode = "fast") -> list[str | None]:
    """What must be equal."""
    result = Hasher([HashSpec(method)], decode).hash_batch(files)
    assert result.errors == {}
    return [None if key is None else key[:DIGEST_DIGITS] for key in result.facts.flat]


def sheet(words: str) -> Image.Image:
    """Nearly blank."""
    page = Image.new("RGB", (600, 800), "white")
    ImageDraw.Draw(page).text((60, 40), words, fill="black")
    return page


@pytest.mark.parametrize("method", HASHES)
@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_photographs_have_quality_and_solids_none(method: str, decode: Decode) -> None:
    photos = [encoded(picture, "JPEG", quality=quality) for picture in photographs() for quality in (50, 90)]
    solids = [encoded(Image.new("RGB", (200, 150), color), "JPEG") for color in COLORS.values()]
    result = Hasher([HashSpec(method)], decode).hash_batch([*photos, *solids])
    assert (result.facts.quality[: len(photos)] >= FLOOR).all()
    assert (result.facts.quality[len(photos) :] == 0).all()
    assert result.facts.flat[: len(photos)] == [None] * len(photos)
    assert len(set(result.facts.flat[len(photos) :])) == len(COLORS)


@pytest.mark.parametrize("name", COLORS)
def test_one_color_in_any_size_and_file(name: str) -> None:
    forms = [
        encoded(Image.new("RGB", size, COLORS[name]), file_format, **options)
        for size in ((1, 1), (128, 128), (700, 31))
        for file_format, options in (
            ("PNG", {}),
            ("JPEG", {"quality": 90}),
            ("JPEG", {"quality": 75}),
            ("WEBP", {"lossless": True}),
            ("GIF", {}),
        )
    ]
    assert len(set(flat(forms))) == 1


def test_transparent_nothing_is_the_background() -> None:
    nothing = encoded(Image.new("RGBA", (40, 40), (9, 9, 9, 0)), "PNG")
    assert flat([nothing]) == flat([encoded(Image.new("RGB", (70, 20), "white"), "PNG")])


def test_nearly_blank_pictures_match_by_their_pixels() -> None:
    pages = [sheet("yes"), sheet("no"), sheet("yes")]
    found = flat([encoded(page, name) for page, name in zip(pages, ("PNG", "PNG", "TIFF"), strict=True)])
    assert found[0] == found[2] != found[1]
    ramp = np.tile(np.linspace(100, 140, 300).astype(np.uint8), (200, 1))
    found = flat([encoded(Image.fromarray(ramp), "PNG"), encoded(Image.fromarray(ramp.T.copy()), "PNG")])
    assert None not in found
    assert found[0] != found[1]


def test_flat_pictures_of_16_bits_are_told_apart() -> None:
    """Twelve bits of an X-ray are hardly anything of sixteen."""
    photo = np.asarray(photographs()[1].convert("L")).astype(np.uint16)
    files = [encoded(Image.fromarray(one), "PNG") for one in (photo, photo[::-1].copy(), photo * 0 + 7, photo * 0 + 8)]
    assert len(set(flat(files))) == 4
    assert flat([encoded(Image.fromarray(photo), "TIFF")]) == flat(files[:1])


def test_animations_that_begin_flat() -> None:
    frames = [Image.new("RGB", (64, 48), "black"), *(picture.resize((64, 48)) for picture in photographs()[:2])]
    films = [
        encoded(frames[0], "GIF", save_all=True, append_images=rest) for rest in (frames[1:], frames[:0:-1], frames[1:])
    ]
    found = flat(films)
    assert found[0] == found[2] != found[1]


def test_digests_are_right_for_flat_pictures_too() -> None:
    solid = encoded(Image.new("RGB", (64, 48), "teal"), "PNG")
    assert flat([solid], "pixels") == flat([solid], "md5") == [None]
    result = Hasher([HashSpec("pixels")]).hash_batch([solid, encoded(photographs()[0], "PNG")])
    assert result.facts.quality[0] == 0
    assert result.facts.quality[1] >= FLOOR
    assert Hasher([HashSpec("md5")]).hash_batch([solid]).facts.quality.tolist() == [-1]


def test_quality_is_the_mean_difference_between_neighbours() -> None:
    random = np.random.default_rng(3).integers(0, 255 * 128, (5, SIDE, SIDE)).astype(np.uint16)
    for grid, found in zip(random // 20, qualities(list(random // 20)), strict=True):
        cells = grid.astype(float) / 128
        pairs = [abs(cells[y, x] - cells[y, x + 1]) for y in range(SIDE) for x in range(SIDE - 1)]
        pairs += [abs(cells[y, x] - cells[y + 1, x]) for y in range(SIDE - 1) for x in range(SIDE)]
        assert found == int(min(100, 10 * np.mean(pairs)))


def test_a_page_of_text_is_not_flat_for_presets() -> None:
    """Its lines are finer than a grid, and their copies are near by hashes."""
    page = Image.new("L", (620, 877), "white")
    draw = ImageDraw.Draw(page)
    for line in range(80, 800, 15):
        for x in range(75, 530, 9):
            draw.text((x, line), chr(97 + (7 * x + line) % 26), fill="black")
    files = [encoded(page, "PNG"), encoded(page, "JPEG", quality=80)]
    result = Hasher([HashSpec("double_gradient", 8), HashSpec("phash", 16)]).hash_batch(files)
    assert result.facts.flat == [None, None]
    assert result.facts.quality.min() >= FLOOR


def test_quality_hardly_depends_on_the_method() -> None:
    files = [encoded(picture.point(lambda level: 120 + level // 9), "PNG") for picture in photographs()]
    found = [Hasher([HashSpec(method)]).hash_batch(files).facts.quality for method in HASHES]
    assert np.ptp(found, axis=0).max() <= 12


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (127, 129), (128, 128), (683, 512), (40, 2500)])
def test_a_sample_is_what_nearest_neighbours_and_their_means_give(mode: str, size: tuple[int, int]) -> None:
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(7).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    picture = Image.fromarray(noise[:, :, 0] if bands == 1 else noise, mode)
    cells = picture.resize((4 * SIDE, 4 * SIDE), Image.Resampling.NEAREST).convert("L").reduce(4)
    levels = np.asarray(cells).astype(int)
    between = np.abs(np.diff(levels, axis=0)).sum() + np.abs(np.diff(levels, axis=1)).sum()
    found = qualities([sample(Frame(picture, b"", True, "white"))])
    assert found.tolist() == [min(100, 10 * between // (2 * SIDE * (SIDE - 1)))]
