"""Animations and documents of several pages."""

from __future__ import annotations

import pytest
from hash_pictures import encoded, photographs
from PIL import Image

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.frames import MOST_FRAMES
from imgdedup_spark.kernels.pictures.reading import Reading

FORMATS = {
    "GIF": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    **({"AVIF": {"quality": 90}} if "AVIF" in Image.SAVE else {}),
}


def film(name: str, *numbers: int) -> bytes:
    frames = [photographs()[number].resize((64, 48)) for number in numbers]
    return encoded(frames[0], name, save_all=True, append_images=frames[1:], **FORMATS[name])


@pytest.mark.parametrize("name", FORMATS)
def test_equal_first_frames(name: str) -> None:
    files = [film(name, 0, 1, 2), film(name, 0, 2, 1), film(name, 0, 1), film(name, 0)]
    first = Hasher([HashSpec("phash")]).hash_batch(files)
    assert len(set(first.hashes[0])) == 1
    assert first.facts.animated.tolist() == [True, True, True, False]
    assert first.facts.frames.tolist() == [1] * 4
    every = Hasher([HashSpec("phash"), HashSpec("dhash", 16)], reading=Reading(frames="all")).hash_batch(files)
    assert every.facts.frames.tolist() == [3, 3, 2, 1]
    for hashes, digits in zip(every.hashes, (16, 64), strict=True):
        assert len(set(hashes)) == 4
        assert [len(one or "") for one in hashes] == [3 * digits, 3 * digits, 2 * digits, digits]
    assert [(one or "")[:16] for one in every.hashes[0]] == first.hashes[0]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("method", ["pixels", "md5"])
@pytest.mark.parametrize("frames", ["first", "all"])
def test_digests_are_of_all_frames_whatever_is_asked_for(name: str, method: str, frames: str) -> None:
    files = [film(name, 0, 1, 2), film(name, 0, 2, 1), film(name, 0, 1), film(name, 0)]
    result = Hasher([HashSpec(method)], reading=Reading(frames=frames)).hash_batch(files)  # type: ignore[arg-type]
    assert len(set(result.hashes[0])) == 4
    assert {len(one or "") for one in result.hashes[0]} == {32}


def test_pages_of_one_film_in_two_formats() -> None:
    result = Hasher([HashSpec("pixels")]).hash_batch([film("TIFF", 0, 1), film("WEBP", 0, 1), film("PNG", 0, 1)])
    assert len(set(result.hashes[0])) == 1


def test_pages_of_two_sizes_and_depths() -> None:
    pages = [photographs()[0].resize((64, 48)), photographs()[1].convert("L"), Image.new("I;16", (5, 9), 700)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    result = Hasher([HashSpec("phash")], reading=Reading(frames="all")).hash_batch([data])
    assert result.facts.frames.tolist() == [3]
    assert (result.width[0], result.height[0]) == (64, 48)
    large = Hasher([HashSpec("pixels")], max_pixels=5000).hash_batch([data])
    assert large.errors[0].code == "too_large"  # the second page


def test_a_cut_animation() -> None:
    data = film("GIF", 0, 1, 2)
    cut = data[: len(data) * 2 // 3]
    assert Hasher([HashSpec("phash")]).hash_batch([cut]).errors == {}
    for hasher in (Hasher([HashSpec("phash")], reading=Reading(frames="all")), Hasher([HashSpec("pixels")])):
        result = hasher.hash_batch([cut, data])
        assert result.hashes[0][0] != result.hashes[0][1]


def test_very_many_frames() -> None:
    frames = [Image.new("P", (2, 2), number % 7 + number % 5) for number in range(MOST_FRAMES + 2)]
    other = [*frames[:-1], Image.new("P", (2, 2), 200)]
    files = [encoded(one[0], "TIFF", save_all=True, append_images=one[1:]) for one in (frames, other)]
    every = Hasher([HashSpec("ahash")], reading=Reading(frames="all")).hash_batch(files)
    assert every.facts.frames.tolist() == [MOST_FRAMES] * 2
    assert [one.code for one in every.facts.warnings[0]] == ["many_frames"]
    assert str(MOST_FRAMES + 2) in every.facts.warnings[0][0].message
    pixels = Hasher([HashSpec("pixels")]).hash_batch(files)
    assert len(set(pixels.hashes[0])) == 2
    assert pixels.facts.warnings == {}


def test_a_preview_in_a_photograph_is_no_frame() -> None:
    pictures = [photographs()[0], photographs()[0].resize((80, 57))]
    data = encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
    result = Hasher([HashSpec("phash")], reading=Reading(frames="all")).hash_batch([data])
    assert result.facts.animated.tolist() == [False]
    assert result.facts.frames.tolist() == [1]
    assert result.facts.warnings == {}
