"""Which sketches show the same: the rule, written out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hash_pictures import encoded
from PIL import Image, ImageDraw

from imgdedup_spark.kernels.hashes.flat import flat_key
from imgdedup_spark.kernels.hashes.sketches import CELLS, COLOR_CELLS, DIGEST_DIGITS, earliest_same, sketches
from imgdedup_spark.kernels.pictures.decode import Picture

LIGHT = CELLS * CELLS


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    light = [sketch[:LIGHT].reshape(CELLS, CELLS).astype(float) for sketch in (one, other)]
    means = [grid.mean() for grid in light]
    if abs(means[0] - means[1]) > 6:
        return False
    colors = [sketch[LIGHT:].astype(int) for sketch in (one, other)]
    if np.abs(colors[0] - colors[1]).max() > 6:
        return False
    for row in range(CELLS):
        for column in range(CELLS):
            around = [grid[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] for grid in light]
            slack = 4 + max(part.max() - part.min() for part in around) / 3
            left = [round(2 * (grid[row, column] - mean)) for grid, mean in zip(light, means, strict=True)]
            if abs(left[0] - left[1]) > round(2 * slack):  # half levels
                return False
    return True


def made(count: int) -> np.ndarray:
    """Some scenes, each several times, more or less changed, in any order."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(count):
        scene = np.random.default_rng(rng.integers(0, 12))
        light = np.kron(scene.integers(60, 200, (4, 4)), np.ones((CELLS // 4, CELLS // 4)))
        light = light + rng.normal(0, rng.choice([0, 1, 3]), light.shape) + rng.choice([0, 4, 9])
        if rng.random() < 0.3:
            light[rng.integers(0, CELLS), rng.integers(0, CELLS)] += rng.choice([3, 30])
        colors = scene.integers(80, 170, 2 * COLOR_CELLS * COLOR_CELLS) + rng.choice([0, 0, 3, 20])
        found.append(np.concatenate([light.ravel().round(), colors]).clip(0, 255))
    return np.array(found, np.uint8)


@pytest.mark.parametrize("known", [0, 40])
def test_the_first_that_shows_the_same_and_stands(known: int) -> None:
    some = made(160)
    standing, expected = list(range(known)), list(range(known))
    for one in range(known, len(some)):
        earlier = [other for other in standing if is_same(some[one], some[other])]
        expected.append(earlier[0] if earlier else one)
        if not earlier:
            standing.append(one)
    found = earliest_same(some, known).tolist()
    assert 30 < sum(number != one for number, one in enumerate(found)) < 150
    assert found == expected


def test_what_has_a_sketch() -> None:
    page = Image.new("RGB", (400, 300), "white")
    box = page.copy()
    box.paste((200, 30, 30), (100, 60, 180, 140))
    ramp = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    words = [one.copy() for one in (page, box, ramp)]
    for one, place in zip(words, ((40, 40), (40, 220), (60, 90)), strict=True):
        ImageDraw.Draw(one).text(place, "yes", fill=(0, 90, 0), font_size=18)
    inside = box.copy()
    ImageDraw.Draw(inside).text((130, 90), "7", fill="white", font_size=14)
    deep = Image.fromarray(np.full((20, 20), 900, np.uint16))
    film = encoded(page, "GIF", save_all=True, append_images=[box])
    with_one = [flat_key(Picture(encoded(one, "PNG"))) for one in (page, box, ramp)]
    without = [flat_key(Picture(encoded(one, "PNG"))) for one in (*words, inside, deep)]
    assert [len(key) > DIGEST_DIGITS for key in with_one] == [True] * 3
    assert [len(key) for key in (*without, flat_key(Picture(film)))] == [DIGEST_DIGITS] * 6
    assert sketches(with_one).shape == (3, LIGHT + 2 * COLOR_CELLS**2)
