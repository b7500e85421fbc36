"""Borders: where the picture is in photographs with bars, frames, captions and blurred copies around them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageFilter

from imgdedup_spark.kernels.pictures.borders import inner_box


@cache
def photographs() -> tuple[Image.Image, ...]:
    names = ("astronaut", "coffee", "chelsea", "rocket", "coins")
    pictures = (Image.fromarray(getattr(skimage.data, name)()).convert("L") for name in names)
    return tuple(one.resize((240, 180 + 12 * number)) for number, one in enumerate(pictures))


def placed(picture: Image.Image, ground: Image.Image, left: int, top: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """The picture on its ground, and where it is: top, bottom, left, right."""
    ground.paste(picture, (left, top))
    return np.asarray(ground), (top, top + picture.height, left, left + picture.width)


def noisy(levels: np.ndarray) -> np.ndarray:
    """As JPEG leaves it."""
    noise = np.random.default_rng(3).integers(-3, 4, levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def letterbox(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    return placed(picture, Image.new("L", (picture.width, picture.height + 70), 0), 0, 35)


def pillarbox(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    return placed(picture, Image.new("L", (picture.width + 90, picture.height), 255), 50, 0)


def frame(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    return placed(picture, Image.new("L", (picture.width + 40, picture.height + 40), 120), 20, 20)


def frame_in_bars(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    inner = Image.new("L", (picture.width + 20, picture.height + 20), 250)
    inner.paste(picture, (10, 10))
    levels, (top, bottom, left, right) = placed(inner, Image.new("L", (inner.width, inner.height + 60), 0), 0, 30)
    return levels, (top + 10, bottom - 10, left + 10, right - 10)


def caption(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    ground = Image.new("L", (picture.width, picture.height + 50), 255)
    ImageDraw.Draw(ground).text((12, 14), "a caption of some words", fill=0, font_size=16)
    return placed(picture, ground, 0, 50)


def caption_below(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    ground = Image.new("L", (picture.width, picture.height + 50), 0)
    ImageDraw.Draw(ground).text((12, picture.height + 14), "and one below it", fill=255, font_size=16)
    return placed(picture, ground, 0, 0)


def blurred(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    """The picture before a blurred copy of itself, which fills a tall screen."""
    width, height = picture.width, picture.height + 120
    ground = picture.resize((round(picture.width * height / picture.height), height))
    ground = ground.crop((0, 0, width, height)).filter(ImageFilter.GaussianBlur(16))
    return placed(picture, ground, 0, 60)


def graded(picture: Image.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    """Bars that go from dark to bright along the picture."""
    line = np.linspace(20, 235, picture.width).astype(np.uint8)
    return placed(picture, Image.fromarray(np.tile(line, (picture.height + 80, 1))), 0, 40)


# How many of the five pictures may be missed: the night sky around the rocket is as smooth as its blurred copy.
EDITS = {letterbox: 0, pillarbox: 0, frame: 0, frame_in_bars: 0, caption: 0, caption_below: 0, blurred: 1, graded: 0}


@pytest.mark.parametrize("edit", EDITS)
def test_the_picture_is_found_within_its_borders(edit):
    found = 0
    for picture in photographs():
        levels, truth = edit(picture)
        box = inner_box(levels if edit in (blurred, graded) else noisy(levels))
        found += box is not None and max(abs(a - b) for a, b in zip(box, truth, strict=True)) <= 4
    assert found >= len(photographs()) - EDITS[edit]


def test_photographs_without_borders_have_none():
    assert {inner_box(np.asarray(picture)) for picture in photographs()} == {None}


def test_empty_sky_is_taken_for_a_bar():
    # Which costs nothing where wholes are compared, too.
    camera = skimage.data.camera()[::2, ::2]
    box = inner_box(camera)
    assert box is not None and box[0] > 20 and box[1:] == (camera.shape[0], 0, camera.shape[1])


@pytest.mark.parametrize("levels", [np.zeros((30, 30)), np.full((1, 1), 7), np.zeros((1, 200)), np.zeros((300, 2))])
def test_one_color_and_tiny_pictures_have_no_borders(levels):
    assert inner_box(levels.astype(np.uint8)) is None


def test_too_little_is_no_picture():
    levels = np.zeros((200, 200), np.uint8)
    levels[90:110, 90:110] = np.random.default_rng(1).integers(0, 256, (20, 20))
    assert inner_box(levels) is None
