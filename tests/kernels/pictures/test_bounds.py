"""A few bytes that ask for gigabytes or minutes are refused by what their headers state."""

from __future__ import annotations

import io
import re
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "killers"))
from bombs import BOMBS
from hash_pictures import encoded, photographs
from PIL import Image

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS, Reading


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name):
    make, said = BOMBS[name]
    data = make()
    hasher = Hasher([HashSpec("phash"), HashSpec("colorhash", 3)])
    tracemalloc.start()
    found = hasher.hash_batch([data])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.errors[0].code == "too_large"
    assert re.match(said, found.errors[0].message), found.errors[0].message
    assert peak < 20 << 20


def test_scans_take_memory_for_all_frequencies_also_where_nothing_is_progressive():
    data = bytearray(encoded(Image.new("RGB", (16, 16), "gray"), "JPEG", subsampling=0))
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    data[frame + 5 : frame + 9] = (12_000).to_bytes(2, "big") * 2
    data[scan : scan + 14] = b"\xff\xda\0\x08\1" + data[scan + 5 : scan + 7] + data[scan + 11 : scan + 14]
    error = Hasher([HashSpec("phash")]).hash_batch([bytes(data) + bytes(20_000)]).errors[0]
    assert error.code == "too_large"
    assert error.message.startswith("JPEG: 12,000 x 12,000 pixels take 8")


def test_frames_are_bounded_together():
    frames = [Image.new("L", (300, 300), 8 * color) for color in range(30)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    every = Reading(frames="all")
    assert Hasher([HashSpec("phash")], max_pixels=300 * 300 * 2, reading=every).hash_batch([data]).errors == {}
    found = Hasher([HashSpec("phash")], max_pixels=300 * 300, reading=every).hash_batch([data])
    assert found.errors[0].message == "30 frames of 300 x 300 pixels"


@pytest.mark.parametrize(
    ("format_", "how"),
    [
        ("JPEG", {"progressive": True}), ("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}),
        ("JPEG2000", {}), ("GIF", {}), ("TIFF", {}), ("BMP", {}), ("PPM", {}), ("TGA", {}), ("AVIF", {"speed": 10}),
    ],
)  # fmt: skip
def test_photographs_of_every_format_pass(format_, how):
    picture = photographs()[0].resize((4000, 3000))
    result = Hasher([HashSpec("phash")]).hash_batch([encoded(picture, format_, **how)])
    assert result.errors == {}


def test_blank_pictures_at_the_limit_are_no_bombs():
    side = int(DEFAULT_MAX_PIXELS**0.5)
    stream = io.BytesIO()
    Image.new("1", (side, side)).save(stream, "PNG")
    assert Hasher([HashSpec("ahash")]).hash_batch([stream.getvalue()]).errors == {}


def test_errors_hold_on_to_no_pixels():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)).resize((2000, 1500))
    data = encoded(noise, "JPEG")
    found = Hasher([HashSpec("phash")], "exact").hash_batch([data[: len(data) // 2 + place] for place in range(4)])
    for error in found.errors.values():
        assert error.__traceback__ is error.__cause__ is error.__context__ is None
    assert len(found.errors) == 4
