"""Views: the hashes of mirrored, turned and cropped pixels, without turning any; and what has no views."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import skimage.data
from hash_pictures import encoded
from PIL import Image, ImageDraw

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Fingerprints, Hasher
from imgdedup_spark.kernels.hashes.view_names import TURNS
from imgdedup_spark.kernels.pictures.reading import Decode, Reading

GRIDS = ("phash", "phash_simple", "dhash", "dhash_vertical", "double_gradient", "ahash", "whash", "pdq")
#: Slow twins: what each turn does to pixels.
TWINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotate_90": lambda pixels: np.rot90(pixels, -1),
    "rotate_180": lambda pixels: np.rot90(pixels, 2),
    "rotate_270": lambda pixels: np.rot90(pixels, 1),
    "flip": np.fliplr,
    "flip_90": lambda pixels: np.rot90(np.fliplr(pixels), -1),
    "flip_180": lambda pixels: np.rot90(np.fliplr(pixels), 2),
    "flip_270": lambda pixels: np.rot90(np.fliplr(pixels), 1),
}


@cache
def cuttings() -> tuple[np.ndarray, ...]:
    """60 pieces of photographs, of odd sizes."""
    random = np.random.default_rng(5)
    found = []
    for name in ("astronaut", "coffee", "chelsea", "camera", "coins"):
        pixels = getattr(skimage.data, name)()
        for _ in range(12):
            height, width = random.integers(150, 300, 2)
            top = random.integers(0, pixels.shape[0] - height + 1)
            left = random.integers(0, pixels.shape[1] - width + 1)
            found.append(np.ascontiguousarray(pixels[top : top + height, left : left + width]))
    return tuple(found)


def file_of(pixels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(np.ascontiguousarray(pixels)), "BMP")


def look(files: list[bytes], views: list[str], *methods: str, decode: Decode = "fast") -> Fingerprints:
    result = Hasher([HashSpec(one) for one in methods or ("phash",)], decode, views=views).hash_batch(files)
    assert not result.errors
    return result


def bits_between(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_turned_hashes_are_those_of_turned_pixels(decode: Decode) -> None:
    pictures = cuttings()
    found = look([file_of(one) for one in pictures], list(TURNS), *GRIDS, decode=decode).views
    apart = {method: [] for method in GRIDS}
    for name, turn in TWINS.items():
        real = look([file_of(turn(one)) for one in pictures], [], *GRIDS, decode=decode).hashes
        for row, views in enumerate(found):
            for method, text, column in zip(GRIDS, views[name], real, strict=True):
                apart[method].append(bits_between(text, column[row]))
    assert set(TWINS) == set(TURNS) and all(len(one) == 7 * len(pictures) for one in apart.values())
    assert np.mean(np.array(apart["phash"]) == 0) >= (0.99 if decode == "fast" else 0.95)
    # The cells of a turned picture round a little differently, and PDQ samples them elsewhere.
    assert max(np.mean(one) for name, one in apart.items() if name != "pdq") < 0.5
    assert np.mean(apart["pdq"]) < 24


def test_a_center_is_the_hash_of_the_cropped_pixels() -> None:
    pictures = cuttings()
    views = look([file_of(one) for one in pictures], ["center"], "double_gradient").views
    assert {tuple(one) for one in views} == {("center",)}

    def cropped(pixels: np.ndarray) -> np.ndarray:
        down, across = (round(0.05 * side) for side in pixels.shape[:2])
        return pixels[down:-down, across:-across]

    real = look([file_of(cropped(one)) for one in pictures], [], "double_gradient").hashes[0]
    whole = look([file_of(one) for one in pictures], [], "double_gradient").hashes[0]
    apart = [bits_between(one["center"][0], text) for one, text in zip(views, real, strict=True)]
    from_whole = [bits_between(one["center"][0], text) for one, text in zip(views, whole, strict=True)]
    assert np.mean(apart) < 3 < 12 < np.mean(from_whole)


def framed(picture: Image.Image, color: str = "black", share: float = 0.1) -> Image.Image:
    side = round(share * min(picture.size))
    found = Image.new("RGB", (picture.width + 2 * side, picture.height + 2 * side), color)
    found.paste(picture, (side, side))
    return found


def captioned(picture: Image.Image) -> Image.Image:
    found = Image.new("RGB", (picture.width, picture.height + 60), "white")
    found.paste(picture, (0, 60))
    ImageDraw.Draw(found).text((20, 15), "WHEN THE TESTS PASS AT ONCE", fill="black", font_size=18)
    return found


@pytest.mark.parametrize("edit", [framed, captioned])
def test_trimmed_is_near_the_picture_before_it_had_borders(edit: Callable[[Image.Image], Image.Image]) -> None:
    plain = [Image.fromarray(one).convert("RGB") for one in cuttings()]
    before = look([encoded(one, "PNG") for one in plain], ["trimmed"], "double_gradient", "phash")
    after = look([encoded(edit(one), "JPEG", quality=85) for one in plain], ["trimmed"], "double_gradient", "phash")
    assert {tuple(one) for one in after.views} == {("trimmed",)}
    for spec, most in ((0, 24), (1, 8)):
        found = zip(before.hashes[spec], before.views, after.hashes[spec], after.views, strict=True)
        near, untrimmed = [], []
        for whole, earlier, edited, later in found:
            # What is empty in the picture itself goes with the border, and went before it had one.
            trimmed = later["trimmed"][spec]
            near.append(min(bits_between(trimmed, one) for one in (whole, earlier.get("trimmed", [whole] * 2)[spec])))
            untrimmed.append(bits_between(edited, whole))
        assert np.mean(np.array(near) <= most) >= 0.95
        assert np.mean(np.array(untrimmed) <= most) < 0.6


def test_a_flat_view_is_none() -> None:
    # The whole has edges, and what is within the frame nothing.
    empty = framed(Image.new("RGB", (200, 150), "white"), "black", 0.2)
    found = look([encoded(empty, "PNG")], ["trimmed", "center"])
    assert found.facts.flat == [None]
    assert set(found.views[0]) == {"center"}
    assert look([encoded(Image.new("RGB", (20, 20), "red"), "PNG")], ["trimmed", "center"]).views == [{}]


def test_copies_of_a_file_have_the_views_of_the_first_and_broken_files_none() -> None:
    files = [file_of(one) for one in cuttings()[:2]]
    result = Hasher([HashSpec()], views=["flip"]).hash_batch([files[0], b"nothing", files[1], files[0]])
    assert list(result.errors) == [1]
    assert result.views[1] == {} and result.views[3] == result.views[0] != result.views[2]


def test_each_frame_has_its_views() -> None:
    frames = [Image.fromarray(one).convert("RGB").resize((160, 120)) for one in cuttings()[:24:12]]
    stream = io.BytesIO()
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    reading = Reading(frames="all")
    (views,) = Hasher([HashSpec()], reading=reading, views=["flip"]).hash_batch([stream.getvalue()]).views
    alone = look([encoded(one, "PNG") for one in frames], ["flip"]).views
    assert views == {"flip": ("".join(one["flip"][0] for one in alone),)}


@pytest.mark.parametrize("method", ["md5", "pixels", "colorhash", "crop_resistant"])
def test_what_is_no_hash_of_a_grid_has_no_views(method: str) -> None:
    with pytest.raises(UserError, match=f"{method} has no views"):
        Hasher([HashSpec(), HashSpec(method)], views=["flip"])
