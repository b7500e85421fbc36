"""Which sketches show the same: the rule, written out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hash_pictures import encoded
from PIL import Image

from imgdedup_spark.kernels.hashes.flat import flat_key
from imgdedup_spark.kernels.hashes.sketches import CELLS, COLOR_CELLS, earliest_same, sketches
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
    page = Image.new("RGB", (300, 200), "white")
    word = page.copy()
    word.paste("black", (40, 40, 60, 44))
    box = page.copy()
    box.paste((200, 30, 30), (100, 60, 180, 140))
    deep = Image.fromarray(np.full((20, 20), 900, np.uint16))
    film = {"save_all": True, "append_images": [box]}
    files = [encoded(page, "PNG"), encoded(word, "PNG"), encoded(box, "PNG"), encoded(deep, "PNG")]
    keys = [flat_key(Picture(file)) for file in (*files, encoded(page, "GIF", **film))]
    assert sketches(keys)[0].tolist() == [0, 2]
