"""``decode="fast"``: finds what exact decoding finds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hash_pictures import encoded, photographs
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgdedup_spark.kernels.hashes import METHODS, HashSpec
from imgdedup_spark.kernels.hashes.grids import FINE, LEVEL, coarse, grid
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.decode import Picture

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from photographs import view
from quality import edited_set, measure

# How much lower recall may be at 0, 3 and 8 bits. 1,100 edits are few for 3 bits: one edit in a hundred is found by
# only one of both, now this, now that; over many more fast decoding is ahead (benchmarks/quality.py).
ALLOWED = (0, 0.005, 0.002)


def levels(picture: Picture, cells: int = 32) -> np.ndarray:
    """A square grid in grey levels."""
    return grid(picture, cells, cells) / LEVEL


@pytest.mark.long
def test_recall_over_known_edits() -> None:
    """Small and seeded; benchmarks/quality.py does the same at length and at every size."""
    groups = edited_set(100, 313, 262)
    for method in ("phash", "dhash"):
        exact, fast = (measure(groups, HashSpec(method), decode) for decode in ("exact", "fast"))
        assert exact.recall[2] > 0.9  # the set is a fair one
        assert fast.recall[0] > exact.recall[0] + 0.03  # what fractions of grey levels are kept for
        for allowed, before, after in zip(ALLOWED, exact.recall, fast.recall, strict=True):
            assert after >= before - allowed, method
        for before, after in zip(exact.false_pairs, fast.false_pairs, strict=True):
            assert after <= before + 1, method  # of 18,720 pairs


def test_reduced_decoding_changes_few_bits() -> None:
    """At these sizes the decoder works at half scale."""
    pictures = [encoded(view(3, number, 2400, 2100), "JPEG", quality=85) for number in range(8)]
    specs = [HashSpec("phash"), HashSpec("dhash"), HashSpec("double_gradient")]
    fast, exact = (Hasher(specs, decode).hash_batch(pictures).hashes for decode in ("fast", "exact"))
    for spec, ours, librarys in zip(specs, fast, exact, strict=True):
        flips = [(int(a or "", 16) ^ int(b or "", 16)).bit_count() for a, b in zip(ours, librarys, strict=True)]
        assert max(flips) <= 6, spec
        assert np.mean(flips) <= (1 if spec.method == "phash" else 3), spec


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 900), st.integers(1, 900), st.sampled_from((8, 9, 32, 64)))
def test_grid_is_pillows_lanczos(seed: int, width: int, height: int, cells: int) -> None:
    """Noise is the hardest picture: every cell depends on every pixel of its surroundings."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), "PNG")
    ours, pillows = (levels(Picture(data, fast=fast), cells) for fast in (True, False))
    difference = np.abs(ours - pillows)
    if height <= 1.5 * width and width >= 4 * cells:  # Pillow takes tall pictures' columns first, we never do
        assert difference.max() <= 1.5
    assert difference.mean() < 6


def test_grid_of_real_pictures_is_pillows() -> None:
    for picture in photographs()[:3]:
        data = encoded(picture, "PNG")
        assert np.mean(np.rint(levels(Picture(data))) == levels(Picture(data, fast=False))) > 0.85


def test_coarse_grids_are_made_of_finer_ones() -> None:
    """By Pillow's filter in floating point, whatever else is in the batch."""
    # No value goes out of range on the way.
    pictures = [picture.point(lambda level: 64 + level // 2) for picture in photographs()[:3]]
    fine = np.stack([grid(Picture(encoded(picture, "PNG")), FINE, FINE) for picture in pictures])
    for width, height in ((9, 8), (8, 9), (5, 4)):
        found = coarse(fine, width, height)
        for cells, one in zip(fine, found, strict=True):
            whole = Image.fromarray(cells.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
            assert np.abs(one - np.asarray(whole)).max() <= 2
            assert (coarse(cells[None], width, height)[0] == one).all()


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_flat_pictures_have_flat_grids(level: int) -> None:
    for size in ((1, 1), (31, 700), (700, 31), (1300, 1100), (40_000, 3)):
        data = encoded(Image.new("L", size, level), "PNG")
        assert set(levels(Picture(data)).flat) == {level}


def test_lossless_formats_agree() -> None:
    """The same pixels in any lossless format have the same hash."""
    specs = [HashSpec(method) for method in METHODS if method != "md5"]
    files = [encoded(photographs()[0], name) for name in ("PNG", "BMP", "TIFF", "PPM")]
    files.append(encoded(photographs()[0], "WEBP", lossless=True))
    for hashes in Hasher(specs).hash_batch(files).hashes:
        assert len(set(hashes)) == 1


def test_whash_is_near_the_librarys() -> None:
    data = [encoded(picture, "JPEG") for picture in photographs()]
    fast, exact = (Hasher([HashSpec("whash")], decode).hash_batch(data).hashes[0] for decode in ("fast", "exact"))
    for a, b in zip(fast, exact, strict=True):
        assert a is not None
        assert b is not None
        assert (int(a, 16) ^ int(b, 16)).bit_count() <= 4


def test_decoding_is_reduced_and_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 megapixels leave the decoder as 0.75, without colour."""
    data = encoded(photographs()[0].resize((4000, 3000)), "JPEG")
    loaded = []
    real = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: loaded.append((self.mode, self.size)) or real(self))
    Hasher([HashSpec("phash"), HashSpec("dhash", 16), HashSpec("ahash"), HashSpec("phash", 16)]).hash_batch([data])
    assert set(loaded) <= {("L", (1000, 750))}
