"""``color``: what it tells apart, and what not."""

from __future__ import annotations

import numpy as np
import pytest
from hash_pictures import encoded, photographs
from PIL import Image, ImageEnhance

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.reading import Decode

DEFAULT = 20  # of --verify color


def bits(pictures: list[Image.Image], decode: Decode = "fast", file_format: str = "JPEG") -> np.ndarray:
    found = Hasher([HashSpec("color")], decode).hash_batch([encoded(one, file_format) for one in pictures])
    assert found.errors == {}
    digits = [np.frombuffer(bytes.fromhex(text or ""), np.uint8) for text in found.hashes[0]]
    return np.unpackbits(np.array(digits), axis=1)


def apart(one: Image.Image, other: Image.Image) -> int:
    first, second = bits([one, other])
    return int((first != second).sum())


def car(color: tuple[int, int, int]) -> Image.Image:
    """One template, on a grey ground."""
    found = Image.new("RGB", (300, 200), (120, 120, 118))
    shape = photographs()[0].convert("L").resize((180, 120))
    found.paste(Image.merge("RGB", [shape.point(lambda one, part=part: one * part // 255) for part in color]), (60, 40))
    return found


CARS = {"red": (220, 30, 30), "blue": (30, 40, 210), "green": (30, 160, 50), "yellow": (230, 210, 30)}


def test_colors_of_a_template_are_told_apart() -> None:
    for one in CARS:
        for other in CARS:
            if one != other:
                assert apart(car(CARS[one]), car(CARS[other])) > DEFAULT + 5, (one, other)


@pytest.mark.parametrize("name", ["grey", "brighter", "darker", "paler", "half", "cropped", "framed"])
def test_copies_are_not(name: str) -> None:
    for picture in [*photographs(), *map(car, CARS.values())]:
        copy = {
            "grey": lambda one: one.convert("L").convert("RGB"),
            "brighter": lambda one: ImageEnhance.Brightness(one).enhance(1.3),
            "darker": lambda one: ImageEnhance.Brightness(one).enhance(0.6),
            "paler": lambda one: ImageEnhance.Color(one).enhance(0.5),
            "half": lambda one: one.reduce(2),
            "cropped": lambda one: one.crop((9, 9, one.width - 9, one.height - 9)),
            "framed": lambda one: Image.new("RGB", (one.width + 80, one.height + 80), "white"),
        }[name](picture)
        if name == "framed":
            copy.paste(picture, (40, 40))
        assert apart(picture, copy) <= (17 if name == "grey" else 12)


def test_shares_in_sixteenths() -> None:
    """Red and blue of equal strength, and a hue between two that it is shared out among."""
    half = Image.new("RGB", (64, 64), (200, 40, 40))
    half.paste((40, 40, 200), (32, 0, 64, 64))
    orange = Image.new("RGB", (64, 64), (240, 140, 20))
    nothing = Image.new("RGB", (64, 64), (99, 99, 99))
    found = bits([half, orange, nothing], "exact", "PNG").reshape(3, 6, 16)
    assert (np.diff(found.astype(int), axis=2) <= 0).all()  # from the first on
    counts = found.sum(axis=2)
    assert counts[0].sum() in (15, 16, 17)
    assert counts[0, 0] > 4
    assert counts[0, 4] > 4
    assert counts[1, 0] + counts[1, 1] >= 15
    assert counts[1, :2].min() > 2
    assert counts[2].sum() == 0


def test_fast_is_nearly_exact_and_any_mode_has_it() -> None:
    for picture in photographs():
        assert (bits([picture]) != bits([picture], "exact")).sum() <= 4
    for mode in ("L", "CMYK"):
        assert (bits([photographs()[0].convert(mode)]) != bits([photographs()[0].convert(mode)], "exact")).sum() <= 4


def test_views_have_the_color_of_the_whole() -> None:
    picture = photographs()[0].resize((300, 200))
    hasher = Hasher([HashSpec("phash"), HashSpec("color")], views=("trimmed", "center", "flip", "rotate_90"))
    found = hasher.hash_batch([encoded(picture, "JPEG")])
    assert {"center", "flip", "rotate_90"} <= set(found.views[0])
    assert {texts[1] for texts in found.views[0].values()} == {found.hashes[1][0]}
    assert found.views[0]["center"][0] != found.hashes[0][0]
