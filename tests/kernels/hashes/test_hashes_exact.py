"""``decode="exact"``: bit for bit what the ``imagehash`` package computes, of the picture as people see it.

That is the very picture that the package opens, upright, if it is 8-bit and opaque."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence

import imagehash
import numpy as np
import pytest
from hash_pictures import awkward, encoded, files, photographs, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher

LIBRARY: dict[str, Callable[[Image.Image, int], object]] = {
    "phash": imagehash.phash,
    "phash_simple": imagehash.phash_simple,
    "dhash": imagehash.dhash,
    "dhash_vertical": imagehash.dhash_vertical,
    "ahash": imagehash.average_hash,
    "whash": imagehash.whash,
    "colorhash": lambda picture, size: imagehash.colorhash(picture),
    "crop_resistant": lambda picture, size: imagehash.crop_resistant_hash(
        picture, lambda part: imagehash.dhash(part, hash_size=size)
    ),
}
# The library needs a good part of a second for each crop_resistant hash: it has a test of its own.
QUICK = [
    HashSpec(method, size)
    for method in LIBRARY
    for size in (8, 16, 32)
    if method != "crop_resistant" and not (method == "colorhash" and size > 8)
]


def expected(spec: HashSpec, data: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if picture.mode == "I;16":  # the package clips, and calls all of them white
            picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
        elif picture.has_transparency_data and picture.convert("RGBA").getextrema()[3][0] < 255:
            ground = Image.new("RGB", picture.size, "white")
            ground.paste(picture.convert("RGB"), mask=picture.convert("RGBA").getchannel("A"))
            picture = ground
        return str(LIBRARY[spec.method](picture, spec.size))


def differences(specs: Sequence[HashSpec], pictures: Sequence[bytes]) -> list[tuple[HashSpec, int]]:
    result = Hasher(specs, "exact").hash_batch(pictures)
    assert result.errors == {}
    return [
        (spec, row)
        for spec, hashes in zip(specs, result.hashes, strict=True)
        for row, data in enumerate(pictures)
        if hashes[row] != expected(spec, data)
    ]


@pytest.mark.parametrize("index", range(3))
def test_every_mode_in_every_format(index: int) -> None:
    pairs = files(photographs()[index])
    assert len(pairs) >= 33  # of 48; not every format has every mode
    names = list(pairs)
    wrong = [(spec, names[row]) for spec, row in differences(QUICK, list(pairs.values()))]
    assert wrong == []


def test_flat_tiny_and_long_pictures() -> None:
    pictures = [data for picture in awkward() for pair, data in files(picture).items() if pair[1] in ("PNG", "JPEG")]
    assert differences(QUICK, pictures) == []


@pytest.mark.parametrize("size", [2, 3, 5, 9, 64])
def test_other_sizes(size: int) -> None:
    specs = [
        HashSpec(method, size)
        for method in LIBRARY
        if method not in ("crop_resistant", "colorhash") and not (method == "whash" and size & (size - 1))
    ]
    pictures = [encoded(picture, "PNG") for picture in [*photographs()[:2], *awkward()]]
    assert differences(specs, pictures) == []


def test_crop_resistant() -> None:
    pictures = [encoded(picture, "PNG") for picture in [*photographs(), *awkward()]]
    assert differences([HashSpec("crop_resistant", 8)], pictures) == []
    assert differences([HashSpec("crop_resistant", 16)], pictures[:2]) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 9))
def test_crop_resistant_on_blobs(seed: int, coarseness: int, blur: int) -> None:
    """Random blobs reach the corners of the library's search: small regions, and where it stops."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (coarseness, coarseness), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((300, 300), Image.Resampling.BICUBIC if blur else 0)
    assert differences([HashSpec("crop_resistant", 8)], [encoded(picture, "PNG")]) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 256))
def test_random_pictures(seed: int, width: int, height: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, levels, (height, width, 3), dtype=np.uint8)
    assert differences(QUICK, [encoded(Image.fromarray(pixels), "PNG")]) == []


def test_turned_pictures() -> None:
    stored = [turned(photographs()[0], orientation) for orientation in range(1, 9)]
    pictures = [
        encoded(picture, file_format, exif=exif)
        for file_format in ("JPEG", "PNG", "TIFF", "WEBP")
        for picture, exif in stored
    ]
    assert differences(QUICK, pictures) == []


def test_hashes_do_not_depend_on_the_batch() -> None:
    pictures = [encoded(picture, "PNG") for picture in [*photographs(), *awkward()]]
    hasher = Hasher(QUICK, "exact")
    together = hasher.hash_batch(pictures).hashes
    alone = [hasher.hash_batch([data]).hashes for data in pictures]
    assert [[one[spec][0] for one in alone] for spec in range(len(QUICK))] == together
