"""Views as they lie in prints."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from imgdedup_spark.kernels.hamming.pack import codes_of
from imgdedup_spark.kernels.hashes.view_codes import distinct, entries, joined, taken_apart
from imgdedup_spark.kernels.hashes.view_names import VIEWS


def test_what_belongs_together_is_joined_view_by_view() -> None:
    first, second = ({"flip": ("01", "a"), "trimmed": ("02", "b")}, ("00", "c")), ({"flip": ("11", "d")}, ("10", "e"))
    assert joined([first]) == first[0]
    assert list(joined([first, second]).items()) == [("trimmed", ("0210", "be")), ("flip", ("0111", "ad"))]


def test_equal_views_count_once() -> None:
    views = {"trimmed": ("7",), "center": ("8",), "flip": ("8",), "rotate_90": ("9",)}
    assert distinct(views, ("7",)) == {"center": ("8",), "rotate_90": ("9",)}


def test_what_is_equal_in_one_picture_is_not_in_the_row() -> None:
    """The first picture is its own mirror image, the second is not."""
    found = entries([({"flip": ("aa",)}, ("aa",)), ({"flip": ("cc",)}, ("bb",))], [2])
    assert found == [bytes([VIEWS.index("flip"), 0xAA, 0xCC])]


@pytest.mark.parametrize("digits", [[2, 4], [3, 5], [1, 2]])
@pytest.mark.parametrize("images", [1, 2])
def test_hashes_of_views_lie_as_those_of_wholes(digits: list[int], images: int) -> None:
    rng = np.random.default_rng(images)

    def texts() -> tuple[str, ...]:
        return tuple("".join(rng.choice(list("0123456789abcdef"), count)) for count in digits)

    parts = [({"center": texts(), "flip": texts()}, texts()) for _ in range(images)]
    column = pa.array([[], entries(parts, digits), entries([], digits)], pa.list_(pa.binary()))
    views = joined(parts)
    wholes = codes_of([pa.array([views[name][spec] for name in views]) for spec in range(2)], digits, images)
    rows, numbers, codes = taken_apart(column, wholes.shape[1])
    assert rows.tolist() == [1, 1]
    assert [VIEWS[number] for number in numbers] == ["center", "flip"]
    assert codes.tolist() == wholes.tolist()
