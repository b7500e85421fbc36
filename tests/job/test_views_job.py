"""Views through the whole job and the Python API: one run of each, and what they are refused with."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from imgdedup_spark import DedupConfig, deduplicate, pipeline
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small

pytestmark = pytest.mark.spark


def encoded(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def edits(photos):
    """Name → file: two photographs, and copies of the first one with borders, turned and cropped."""
    plain = Image.open(io.BytesIO(photos["A"])).convert("RGB")
    width, height = plain.size
    boxed = Image.new("RGB", (width, height + 60), "black")
    boxed.paste(plain, (0, 30))
    return {
        "a.jpg": photos["A"],
        "b_boxed.jpg": encoded(boxed),
        "c_turned.jpg": encoded(plain.transpose(Image.Transpose.ROTATE_90)),
        "d_cropped.jpg": encoded(plain.crop((width // 20, height // 20, width - width // 20, height - height // 20))),
        "e_other.jpg": photos["C"],
    }


def test_copies_are_found_by_their_views(run, photos, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in edits(photos).items():
        (folder / name).write_bytes(data)
    result = run(folder, "--preset", "thorough")
    found = {row["id"].split("#")[0]: (row["view"], row["kept_view"]) for row in result.table("duplicates")}
    assert {row["kept_id"] for row in result.table("duplicates")} == {"a.jpg#0"}
    assert found["b_boxed.jpg"] == ("trimmed", "whole")
    assert found["c_turned.jpg"] == ("rotate_90", "whole")
    assert "center" in found["d_cropped.jpg"]
    assert set(found) == {"b_boxed.jpg", "c_turned.jpg", "d_cropped.jpg"}
    assert result.summary["rows_kept"] == 2
    assert result.summary["config"]["views"] == ["trimmed", "center", "turned"]
    # More than can be compared are refused before any is hashed, where their number is known.
    monkeypatch.setattr(small, "MOST_ROWS", 3)
    monkeypatch.setattr(pipeline, "look", lambda *_, **__: pytest.fail("hashed"))
    with pytest.raises(UserError, match=r"--views: up to 3 rows can be compared .* and there are 5"):
        run(folder, "--preset", "thorough")


def test_from_python(spark, photos, monkeypatch):
    frame = spark.createDataFrame(list(edits(photos).items()), "name string, image binary")
    result = deduplicate(frame, DedupConfig(invariant=["rotate"], threshold=4), id_col="name")
    rows = [row.asDict() for row in result.duplicates.collect()]
    result.close()
    assert [(row["id"], row["kept_id"], row["view"], row["kept_view"]) for row in rows] == [
        ("c_turned.jpg", "a.jpg", "rotate_90", "whole")
    ]
    monkeypatch.setattr(small, "MOST_ROWS", 3)
    with pytest.raises(UserError, match=r"up to 3 rows can be compared .* and there are 5"):
        deduplicate(frame, DedupConfig(views=["center"], threshold=4), id_col="name")


@pytest.mark.parametrize("before", ["index", "against"])
def test_views_of_what_was_there_before(before, run, photos, tmp_path):
    """Pictures that come a day later than one with a border, which they are copies of."""
    days = {"day1": ("b_boxed.jpg", "e_other.jpg"), "day2": ("a.jpg", "c_turned.jpg", "f_other.jpg")}
    for day, names in days.items():
        (tmp_path / day).mkdir()
        for name in names:
            (tmp_path / day / name).write_bytes({**edits(photos), "f_other.jpg": photos["B"]}[name])
    options = ["--preset", "thorough", "--report"]
    if before == "index":
        for day in days:
            result = run(tmp_path / day, *options, "--index", tmp_path / "seen", "--run-id", day)
        with pytest.raises(UserError, match=r"made with views: trimmed center .*, and this run has views: none"):
            run(tmp_path / "day2", *options, "--views", "whole", "--index", tmp_path / "seen")
    else:
        result = run(tmp_path / "day2", *options, "--against", tmp_path / "day1")
    found = {row["id"].split("#")[0]: row for row in result.table("duplicates")}
    assert {row["kept_id"] for row in found.values()} == {"b_boxed.jpg#0"}
    assert {row["reason"] for row in found.values()} == {"in_index" if before == "index" else "in_reference"}
    assert (found["a.jpg"]["view"], found["a.jpg"]["kept_view"]) == ("whole", "trimmed")
    assert (found["c_turned.jpg"]["view"], found["c_turned.jpg"]["kept_view"]) == ("rotate_90", "trimmed")
    assert len(found) == 2 and result.summary["rows_kept"] == 1
