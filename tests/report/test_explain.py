import dataclasses

import pyarrow as pa
import pytest
from outcomes import example, outcome

from imgdedup_spark.errors import UserError
from imgdedup_spark.report.explain import explain, printable


def test_a_dropped_row_names_its_keeper_distance_and_group():
    found = explain(example(), "b")
    assert (found.fate, found.duplicate["kept_id"], found.duplicate["distance"]) == ("dropped", "a", 1)
    assert "its hash is 1 bit from that of a, which stays (the limit is 8 bits)" in found.why
    assert [one.id for one in found.group] == ["c"]
    # b is 15 bits from d and 17 from e; its keeper is not among the rows that it is not like.
    assert [(one.id, one.distance) for one in found.nearest] == [("d", 15), ("e", 17)]


def test_a_kept_row_names_what_was_dropped_for_it_and_what_was_not():
    found = explain(example(), "a")
    assert found.fate == "kept"
    assert [(one.id, one.distance) for one in found.group] == [("c", 0), ("b", 1)]
    assert [one.id for one in found.nearest] == ["d", "e"]
    text = found.text()
    assert "a: kept (100×80, 100 bytes)" in text and "2 rows dropped for it" in text and "d: 16 bits" in text


@pytest.mark.parametrize(("on_error", "fate"), [("keep", "kept"), ("drop", "dropped_on_error")])
def test_an_unreadable_row_says_so(on_error, fate):
    found = explain(example(on_error=on_error), "f")
    assert found.fate == fate and "truncated: the file ends early" in found.text()
    assert not found.nearest


def test_flat_pictures_and_warnings_are_told():
    assert "too flat" in explain(example(), "e").text()
    assert "odd_end" in explain(example(), "b").text()


def test_an_unknown_id_is_a_mistake_with_an_example():
    with pytest.raises(UserError, match=r"^z: no row has this id; ids there look like a$"):
        explain(example(), "z")


def test_rows_of_other_numbers_of_images_are_never_near():
    rows = [("one", "00" * 8, 1, 1, 90), ("two", "00" * 16, 1, 1, 90), ("also", "01" + "00" * 15, 1, 1, 90)]
    found = explain(outcome(rows), "two")
    assert [(one.id, one.distance) for one in found.nearest] == [("also", 1)]


def test_what_a_terminal_would_obey_is_shown_instead():
    assert printable("a\x1b[31m\u202eb\nc") == "a\\x1b[31m\\u202eb\\nc"
    assert "\x1b" not in explain(outcome([("\x1b[2J", "00" * 8, 1, 1, 90)]), "\x1b[2J").text()


def test_the_views_that_matched_are_named():
    plain = example(views=["center"])
    names = {"view": ["rotate_90", "whole"], "kept_view": ["whole", "whole"]}
    duplicates = plain.duplicates
    for name, column in names.items():
        duplicates = duplicates.append_column(name, pa.array(column))
    found = dataclasses.replace(plain, duplicates=duplicates)
    assert "so near is its view `rotate_90` to `whole` of that one" in explain(found, "b").why
    assert not any("view" in sentence for sentence in explain(found, "c").why)
    assert "no row that stays and comes before it is within 8 bits in any of the views" in explain(found, "d").why


def test_a_keeper_in_the_index_is_not_the_row_of_the_same_id():
    """Days that name their rows alike: `a` of yesterday is not `a` of today, nor is what went for it."""
    rows = [("a", "00000000000000ff", 100, 80, 90), ("b", "ff00000000000000", 90, 80, 90), ("c", "f" * 16, 9, 9, 90)]
    both = outcome(rows, [("b", "a", 2, "in_index"), ("c", "a", 40)])
    mine = explain(both, "a")
    assert mine.fate == "kept" and [one.id for one in mine.group] == ["c"]
    other = explain(both, "b")
    assert "a, which the index knew before this run, is 2 bits from it" in other.text()
    assert other.keeper == {} and other.group == ()
    assert explain(both, "c").keeper["width"] == 100
