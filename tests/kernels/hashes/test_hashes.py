"""The hashes' common entrance: specs, batches, errors, and the methods that ``imagehash`` does not define."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pdqhash
import pytest
from hash_pictures import awkward, encoded, files, photographs, turned
from PIL import Image

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.hashes import METHODS, HashSpec, validate
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.reading import Decode

DECODES: tuple[Decode, ...] = ("fast", "exact")
ALL = [HashSpec(method) for method in METHODS]


def one(method: str, data: bytes, size: int = 8, decode: Decode = "exact") -> str:
    result = Hasher([HashSpec(method, size)], decode).hash_batch([data])
    assert result.errors == {}
    text = result.hashes[0][0]
    assert text is not None
    return text


@pytest.mark.parametrize("decode", DECODES)
@pytest.mark.parametrize("method", METHODS)
def test_length_is_as_promised(method: str, decode: Decode) -> None:
    pictures = [encoded(picture, "PNG") for picture in [photographs()[0], *awkward()]]
    for size in (2, 8, 16) if method == "whash" else (2, 7, 8, 16):
        spec = HashSpec(method, size)
        result = Hasher([spec], decode).hash_batch(pictures)
        assert result.errors == {}
        for text in result.hashes[0]:
            assert text is not None
            assert set(text) <= set("0123456789abcdef,")
            if spec.digits is not None:
                assert spec.bits is not None
                assert len(text) == spec.digits
                assert int(text, 16) < 1 << spec.bits


def test_specs() -> None:
    assert [spec.bits for spec in ALL] == [64, 64, 64, 64, 64, 64, 42, 96, None, 256, 128, 128, 128]
    assert [spec.digits for spec in ALL] == [16, 16, 16, 16, 16, 16, 11, 24, None, 64, 32, 32, 32]
    assert [spec.method for spec in ALL if not spec.near] == ["crop_resistant", "md5", "pixels"]
    assert HashSpec("phash", 9).digits == 21  # 81 bits


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (HashSpec("sha1"), ["sha1", "phash", "pixels"]),
        (HashSpec("phash", 1), ["phash", "1", "2 to 64"]),
        (HashSpec("dhash", 65), ["dhash", "65", "2 to 64"]),
        (HashSpec("whash", 12), ["whash", "12", "16"]),
    ],
)
def test_bad_specs_are_explained(spec: HashSpec, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        validate(spec)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)
    with pytest.raises(UserError):
        Hasher([spec])


def test_methods_without_a_size_ignore_it() -> None:
    validate(HashSpec("md5", 1000))
    data = encoded(photographs()[0], "PNG")
    for method in ("md5", "pixels", "pdq", "colorhash"):
        assert one(method, data, 8) == one(method, data, 32)


def test_unknown_decode() -> None:
    with pytest.raises(UserError, match="fast or exact"):
        Hasher(ALL, "quick")  # type: ignore[arg-type]


def test_md5_is_of_the_bytes_and_pixels_of_the_pixels() -> None:
    picture = photographs()[0]
    quick, small = encoded(picture, "PNG", compress_level=1), encoded(picture, "PNG", compress_level=9)
    assert one("md5", quick) == hashlib.md5(quick).hexdigest()
    assert one("md5", quick) != one("md5", small)
    same = {one("pixels", data) for data in (quick, small, encoded(picture, "BMP"), encoded(picture, "TIFF"))}
    assert len(same) == 1
    dot = picture.copy()
    dot.putpixel((5, 5), (1, 2, 3))
    assert one("pixels", encoded(dot, "PNG")) not in same


def test_pixels_knows_the_size() -> None:
    wide, high = (encoded(Image.new("RGB", size, "teal"), "PNG") for size in ((20, 10), (10, 20)))
    assert one("pixels", wide) != one("pixels", high)


def test_pixels_is_the_same_in_fast_decoding() -> None:
    for data in files(photographs()[0]).values():
        assert one("pixels", data, decode="fast") == one("pixels", data)


def test_pdq_is_the_packages() -> None:
    for picture in [*photographs(), *awkward()]:
        bits, _ = pdqhash.compute(np.asarray(picture))
        assert one("pdq", encoded(picture, "PNG")) == f"{int(''.join(map(str, bits)), 2):064x}"


@pytest.mark.parametrize("size", [8, 9, 16])
def test_double_gradient_is_both_differences(size: int) -> None:
    for picture in photographs():
        data = encoded(picture, "PNG")
        along, down = (int(one(method, data, size), 16) for method in ("dhash", "dhash_vertical"))
        assert int(one("double_gradient", data, size), 16) == along << size * size | down


@pytest.mark.parametrize("decode", DECODES)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_turned_pictures_equal_their_upright_copy(file_format: str, decode: Decode) -> None:
    """All formats here are lossless, so the pixels are the same whichever way the camera was held."""
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    upright = encoded(photographs()[0], file_format, **options)
    specs = [spec for spec in ALL if spec.method != "md5"]
    pictures = [upright]
    for orientation in range(1, 9):
        stored, exif = turned(photographs()[0], orientation)
        pictures.append(encoded(stored, file_format, exif=exif, **options))
    result = Hasher(specs, decode).hash_batch(pictures)
    assert result.errors == {}
    for hashes in result.hashes:
        assert len(set(hashes)) == 1
    assert set(result.width) == {photographs()[0].width}
    assert set(result.height) == {photographs()[0].height}


def test_equal_files_of_a_batch_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data, other = encoded(photographs()[0], "PNG"), encoded(photographs()[1], "PNG")
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *args, **options: opened.append(1) or real(*args, **options))
    hasher = Hasher([HashSpec()])
    result = hasher.hash_batch([data, other, bytes(bytearray(data)), b"bad", memoryview(other), b"bad"])
    assert len(opened) == 3
    assert result.hashes[0][0] == result.hashes[0][2]
    assert result.hashes[0][1] == result.hashes[0][4]
    assert sorted(result.errors) == [3, 5]
    assert result.width.tolist() == [421, 257, 421, 0, 257, 0]


def test_files_that_differ_in_one_byte_are_told_apart() -> None:
    data = encoded(photographs()[0], "PNG")
    changed = data + b"\0", data + b"\1"
    assert len(set(Hasher([HashSpec("md5")]).hash_batch([data, *changed]).hashes[0])) == 3


def test_a_hash_does_not_depend_on_the_others_of_its_run() -> None:
    """An index made with one hash must agree with a later run that computes two."""
    data = encoded(photographs()[0].resize((2100, 1500)), "JPEG")
    specs = [HashSpec(method, size) for method in METHODS for size in (8, 16)]
    for decode in DECODES:
        together = Hasher(specs, decode).hash_batch([data]).hashes
        assert [hashes[0] for hashes in together] == [one(s.method, data, s.size, decode) for s in specs]
        backwards = Hasher(specs[::-1], decode).hash_batch([data]).hashes
        assert backwards[::-1] == together


@pytest.mark.parametrize("decode", DECODES)
def test_errors_are_entries(decode: Decode) -> None:
    good = encoded(photographs()[0], "JPEG")
    result = Hasher(ALL, decode).hash_batch([b"", good, b"text", good[:3000], good])
    assert {row: error.code for row, error in result.errors.items()} == {
        0: "empty",
        2: "unknown_format",
        3: "truncated",
    }
    for hashes in result.hashes:
        assert [text is None for text in hashes] == [True, False, True, True, False]
    assert result.width.dtype == result.height.dtype == np.int32
    assert result.width.tolist() == [0, 421, 0, 0, 421]
    assert result.height.tolist() == [0, 300, 0, 0, 300]


def test_size_limit() -> None:
    data = encoded(photographs()[0], "PNG")
    pixels = 421 * 300
    assert Hasher(ALL, max_pixels=pixels).hash_batch([data]).errors == {}
    assert Hasher(ALL, max_pixels=pixels - 1).hash_batch([data]).errors[0].code == "too_large"


def test_empty_batch() -> None:
    result = Hasher(ALL).hash_batch([])
    assert result.hashes == [[] for _ in ALL]
    assert result.width.shape == result.height.shape == (0,)


def test_pickles_before_and_after_use() -> None:
    data = encoded(photographs()[0], "JPEG")
    hasher = Hasher(ALL, "exact", max_pixels=10**6)
    copy = pickle.loads(pickle.dumps(hasher))
    expected = hasher.hash_batch([data]).hashes
    assert copy.hash_batch([data]).hashes == expected
    again = pickle.loads(pickle.dumps(hasher))
    assert again.hash_batch([data]).hashes == expected
    assert (again.decode, again.max_pixels) == ("exact", 10**6)


def test_only_what_a_method_needs_is_imported() -> None:
    """A worker's start is not slowed down by libraries that its run does not use."""
    code = """
import io, sys
from PIL import Image
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
stream = io.BytesIO()
Image.new("RGB", (9, 9)).save(stream, "PNG")
Hasher([HashSpec("dhash"), HashSpec("ahash"), HashSpec("whash"), HashSpec("md5")]).hash_batch([stream.getvalue()])
print(*(name for name in ("scipy", "pywt", "imagehash", "pdqhash") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    palette = photographs()[0].convert("P")
    palette.info["transparency"] = bytes(range(256))  # Pillow warns about it on conversion
    odd = encoded(palette, "PNG", transparency=bytes(range(256)))
    broken = io.BytesIO()
    photographs()[0].save(broken, "TIFF", compression="tiff_lzw")
    Hasher(ALL).hash_batch([odd, b"II*\0" + b"\xff" * 40, broken.getvalue()[:5000], b"\xff\xd8\xff\xe0"])
    assert capfd.readouterr() == ("", "")
