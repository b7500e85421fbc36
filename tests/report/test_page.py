import base64
import html.parser
import io
import json
import re
from dataclasses import replace

import pyarrow as pa
import pytest
import yaml
from outcomes import example, outcome
from PIL import Image

from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail, thumbnail
from imgdedup_spark.report.choose import choose
from imgdedup_spark.report.explain import explain
from imgdedup_spark.report.page import better, explanation_page, funnel, options_text, report_page

THUMB = Thumbnail("data:image/jpeg;base64,AAAA", "JPEG", 1.0)
HOSTILE = ["<script>alert(1)</script>", '" onerror="alert(1)', "\x1b[31m", "a\u202eb", "]]>", "{{ 7*7 }}", "''&amp;"]


class Seen(html.parser.HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_what_is_chosen_has_the_line_on_both_sides():
    chosen = choose(example())
    assert [(one.kept.id, one.other.id, one.distance) for one in chosen.worst] == [("a", "b", 1)]
    assert [({one.kept.id, one.other.id}, one.distance) for one in chosen.beyond] == [({"a", "d"}, 16)]
    assert (chosen.closest.asked, chosen.closest.there) == (2, 2)
    assert [(one.kept.id, one.size, [row.id for row in one.members]) for one in chosen.groups] == [("a", 3, ["b", "c"])]
    assert not chosen.suspicious


def test_flat_pictures_that_are_near_stand_apart():
    rows = [("a", "00" * 8, 9, 9, 90), ("b", "00" * 8, 9, 9, 3), ("c", "00" * 7 + "01", 9, 9, 3)]
    found = choose(outcome(rows))
    assert [({one.kept.id, one.other.id}, one.distance) for one in found.flat] == [({"b", "c"}, 1)]
    assert not found.beyond and "flat pictures within the threshold" in report_page(outcome(rows))


def test_groups_to_doubt():
    far = [("k", "00" * 8, 9, 9, 90), ("x", "00" * 7 + "ff", 9, 9, 90), ("y", "ff" + "00" * 7, 9, 9, 90)]
    flat = [("m", "0f" * 8, 9, 9, 3), ("n", "0f" * 8, 9, 9, 3)]
    many = [(f"r{number:03}", "f0" * 8, 9, 9, 90) for number in range(60)]
    dropped = [("x", "k", 8), ("y", "k", 8), ("n", "m", 0), *((one[0], "r000", 0) for one in many[1:])]
    found = choose(outcome([*far, *flat, *many], dropped))
    assert {one.kept.id: one.doubts for one in found.suspicious} == {
        "k": ("members up to 16 bits from each other",), "m": ("flat pictures",), "r000": ("very large",),
    }  # fmt: skip
    largest = found.suspicious[0]
    assert (largest.size, len(largest.members)) == (60, 12)


def test_a_page_shows_all_parts_and_loads_nothing():
    page = Seen(report_page(example(), {"a": THUMB, "b": THUMB}))
    text = " ".join(" ".join(page.text).split())
    for part in ("6 rows in", "Where the line falls", "The largest groups", "truncated", "larger than the one kept"):
        assert part in text
    loaded = [value for _, one in page.tags for name, value in one.items() if name in ("src", "href", "srcset")]
    assert loaded and all(one.startswith("data:") for one in loaded)


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_from_the_data_stay_text(text):
    rows = [(text, "00" * 8, 9, 9, 90), (text + "2", "00" * 7 + "01", 9, 9, 90), (text + "3", None, None, None, None)]
    found = outcome(rows, [(text + "2", text, 1)], [(text + "3", 0, "corrupt", text, "error")], input=[text])
    plain, hostile = report_page(example()), report_page(found, {text: THUMB})
    for page in (hostile, explanation_page(explain(found, text + "2"))):
        seen = Seen(page)
        assert {one for one, _ in seen.tags} <= {one for one, _ in Seen(plain).tags} | {"img", "br"}
        assert not any(name.startswith("on") for _, one in seen.tags for name in one)
        assert sum(one == "script" for one, _ in seen.tags) <= 1
        assert "\x1b" not in page and "\u202e" not in page
    buttons = [one for tag, one in Seen(hostile).tags if "data-a" in one]
    assert buttons and all(json.loads(one["data-a"]) == text for one in buttons)


def test_the_funnel_adds_up_by_input():
    inputs = [{"input": "one", "rows_in": 4, "rows_kept": 2, "rows_dropped": 1, "rows_dropped_on_error": 1},
              {"input": "two", "rows_in": 2, "rows_kept": 1, "rows_dropped": 1}]  # fmt: skip
    found = example(on_error="drop")
    found.summary["inputs"] = inputs
    lines = funnel(found)
    assert [one["input"] for one in lines] == ["all", "one", "two"]
    assert all(one["rows_in"] == one["kept"] + one["dropped"] + one["on_error"] for one in lines)
    for name in ("rows_in", "kept", "dropped", "on_error"):
        assert lines[0][name] == sum(one[name] for one in lines[1:])


def test_a_keeper_may_be_elsewhere():
    """In an index or another data set: nothing but its id and the distance is known."""
    found = outcome([("x", "00" * 8, 9, 9, 90)], [("x", "old/7", 2)])
    assert "old/7" in report_page(found, {"x": THUMB})
    assert "old/7" in explanation_page(explain(found, "x"), {"x": THUMB})


def test_embeddings_are_compared_by_cosine():
    plain = example(method="clip", similarity=0.9, threshold=0)
    vectors = [[1.0, 0.0], [0.9, 0.1], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0], None]
    hashes = plain.hashes.append_column("embedding", pa.array(vectors, pa.list_(pa.float32())))
    found = replace(plain, hashes=hashes)
    assert [({one.kept.id, one.other.id}, round(one.distance, 3)) for one in choose(found).beyond] == [
        ({"a", "d"}, 0.2)
    ]
    assert "cosine 0.800" in report_page(found) and "cosine 0.800" in explain(found, "a").text()


def test_options_are_ready_to_copy():
    assert yaml.safe_load(options_text(example(input=["in"], keep="pixels desc"))) == {
        "input": ["in"], "threshold": 8, "keep": "pixels desc",
    }  # fmt: skip


def test_a_run_without_rows_has_a_page():
    assert "0</b> rows in" in report_page(outcome([]))


def test_more_thumbnails_than_a_page_has_room_for():
    large = Thumbnail("data:image/jpeg;base64," + "A" * (4 << 20))
    assert len(report_page(example(), dict.fromkeys("abcde", large))) < 15 << 20


def test_a_sharper_copy_is_marked(photos):
    picture = Image.open(io.BytesIO(photos["A"]))
    blurred = io.BytesIO()
    picture.resize((60, 60)).resize(picture.size).save(blurred, "PNG")
    thumbs = {"a": thumbnail(blurred.getvalue()), "c": thumbnail(photos["A"])}
    assert thumbs["a"].format == "PNG" and thumbs["c"].format == "JPEG"
    group = choose(example()).groups[0]
    assert {one.id: better(group, one, thumbs) for one in group.members} == {"b": "larger", "c": "sharper"}
    with Image.open(io.BytesIO(base64.b64decode(thumbs["c"].uri.split(",")[1]))) as small:
        assert max(small.size) == 160


def test_a_keeper_in_the_index_has_no_picture_of_the_row_of_the_same_id():
    rows = [("a", "00000000000000ff", 100, 80, 90), ("b", "ff00000000000000", 90, 80, 90), ("c", "f" * 16, 9, 9, 90)]
    both = outcome(rows, [("b", "a", 2, "in_index"), ("c", "a", 3), ("a", "a", 5, "in_reference")])
    chosen = choose(both)
    found = {(one.kept.number, one.members[0].id): one.size for one in chosen.groups}
    assert found == {(-1, "a"): 3, (0, "c"): 2}
    assert {(one.kept.number, one.other.id) for one in chosen.worst} == {(-1, "a"), (0, "c")}
    thumbs = {one: Thumbnail(f"data:image/jpeg;base64,{one}", "JPEG", 9.0) for one in "abc"}
    page = report_page(both, thumbs, chosen)
    shown = re.findall(r'<figure class="kept">.*?</figure>', page, re.DOTALL)
    own = [one for one in shown if "100×80" in one]
    assert own and all("base64,a" in one for one in own)
    assert len(own) < len(shown) and all(("base64," in one) == (one in own) for one in shown)
    # A pair of an id with itself is none.
    assert 'data-a="&#34;a&#34;" data-b="&#34;a&#34;"' not in page and "data-b" in page


def test_bits_and_cosines_of_stages_are_told_apart():
    mixed = example(stages=[{"method": "phash"}, {"method": "clip"}])
    similar = pa.array([0.97, None], pa.float64())
    table = mixed.duplicates.set_column(mixed.duplicates.column_names.index("similarity"), "similarity", similar)
    mixed = replace(mixed, duplicates=table)
    page = report_page(mixed)
    assert "0 bits" in page and "1, 1 − cosine" in page


def test_warnings_are_not_counted_as_errors():
    assert "<b>1</b> odd_end (warning), <b>1</b> truncated</p>" in report_page(example())
