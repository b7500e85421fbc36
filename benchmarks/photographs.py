"""Pictures to measure with: views of the photographs that ship with scikit-image, and known edits of them.

Everything is drawn from a seed and a number, so that the same call makes the same picture anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

# Photographs and micrographs that are part of the package itself (others would be downloaded).
_FILES = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png"),
    *("motorcycle_left.png", "motorcycle_right.png", "page.png", "retina.jpg", "rocket.jpg"),
)

# Shortest side of a view, as a part of the photograph's: small enough for thousands of different views, large
# enough to show more than a texture.
_SMALLEST_VIEW = 0.35


@cache
def _photographs() -> tuple[Image.Image, ...]:
    folder = Path(skimage.data.__file__).parent
    return tuple(Image.open(folder / name).convert("RGB") for name in _FILES)


def view(seed: int, number: int, width: int, height: int) -> Image.Image:
    """A view that no other number shows: a window of one photograph over a faint window of another one.

    The second window, a change of colour and film grain make up for the small number of photographs: views of the
    same one differ by far more than an edit does, and large views are not merely blurred small ones.

    Args:
        seed: of the data set.
        number: of the picture.
        width: pixels.
        height: pixels.
    """
    random = np.random.default_rng([seed, number])
    below, above = (_window(random, width, height) for _ in range(2))
    picture = Image.blend(below, above, random.uniform(0.15, 0.45))
    tint = Image.new("RGB", picture.size, tuple(int(value) for value in random.integers(0, 256, 3)))
    picture = Image.blend(picture, tint, random.uniform(0, 0.25))
    # Grain at full scale and at a quarter of it. One tile, repeated: random numbers for 12 megapixels would take
    # longer than everything else.
    tile = random.normal(0, 1, (256, 256, 1)) * 4
    tile = tile + np.kron(random.normal(0, 1, (64, 64, 1)) * 5, np.ones((4, 4, 1)))
    pixels = np.asarray(picture, np.int16)
    grain = np.tile(tile.astype(np.int16), (-(-height // 256), -(-width // 256), 1))[:height, :width]
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def photographs_in(seed: int, number: int) -> frozenset[str]:
    """The photographs that a view shows, by name; the two of the motorcycle are one. It draws as ``view`` does."""
    random = np.random.default_rng([seed, number])
    found = []
    for _ in range(2):
        found.append(_FILES[random.integers(len(_FILES))].split("_")[0])
        random.random(3)
        random.integers(4)
    return frozenset(found)


def _window(random: np.random.Generator, width: int, height: int) -> Image.Image:
    photographs = _photographs()
    photograph = photographs[random.integers(len(photographs))]
    # The largest window of the wanted shape, then a random part of it at a random place.
    scale = min(photograph.width / width, photograph.height / height) * random.uniform(_SMALLEST_VIEW, 1)
    across, down = width * scale, height * scale
    left = random.uniform(0, photograph.width - across)
    top = random.uniform(0, photograph.height - down)
    window = photograph.resize(
        (width, height), Image.Resampling.BICUBIC, box=(left, top, left + across, top + down), reducing_gap=2.0
    )
    turn = random.integers(4)
    if turn & 1:
        window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if turn & 2:
        window = window.transpose(Image.Transpose.ROTATE_180)
    return window


def encoded(picture: Image.Image, file_format: str = "JPEG", quality: int = 88) -> bytes:
    """The file's bytes."""
    stream = io.BytesIO()
    options = {"compress_level": 4} if file_format == "PNG" else {"quality": quality}
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC)


def _cropped(picture: Image.Image, part: float) -> Image.Image:
    """``part`` of each side cut off, half of it at either end."""
    across, down = round(picture.width * part / 2), round(picture.height * part / 2)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def _captioned(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    draw.text((picture.width * 0.04, picture.height * 0.9), "known edit", fill="white", font_size=picture.height // 18)
    return picture


def _noisy(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(picture.width).normal(0, 8, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


# What happens to pictures on their way through the web; each takes the decoded original and gives a file.
EDITS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg_90": lambda picture: encoded(picture, quality=90),
    "jpeg_40": lambda picture: encoded(picture, quality=40),
    "webp": lambda picture: encoded(picture, "WEBP", 80),
    "half": lambda picture: encoded(_scaled(picture, 0.5)),
    "one_and_a_half": lambda picture: encoded(_scaled(picture, 1.5)),
    "brighter": lambda picture: encoded(ImageEnhance.Brightness(picture).enhance(1.15)),
    "contrast": lambda picture: encoded(ImageEnhance.Contrast(picture).enhance(1.2)),
    "blurred": lambda picture: encoded(picture.filter(ImageFilter.GaussianBlur(1.5))),
    "noisy": lambda picture: encoded(_noisy(picture)),
    "caption": lambda picture: encoded(_captioned(picture)),
    "crop_3": lambda picture: encoded(_cropped(picture, 0.03)),
}
