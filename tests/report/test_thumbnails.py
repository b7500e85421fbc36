import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import example, outcome
from PIL import Image

from imgdedup_spark.report.pictures import find_thumbnails


@pytest.fixture
def parquet(photos, tmp_path):
    folder = tmp_path / "in put%"
    folder.mkdir()
    pq.write_table(pa.table({"key": [7, 8], "image": [photos["A"], None]}), folder / "one.parquet")
    pq.write_table(pa.table({"key": [9], "image": [photos["B"]]}), folder / "two.parquet")
    return folder


def found(ids, **options):
    return find_thumbnails(example(background="white", **options), ids)


def test_rows_of_parquet_files(parquet):
    assert set(found(["one.parquet#0", "one.parquet#1", "two.parquet#0", "a"], input=[str(parquet)])) == {
        "one.parquet#0", "two.parquet#0",
    }  # fmt: skip
    assert set(found(["9", "7", "70"], input=[str(parquet)], id_col="key")) == {"9", "7"}
    again = [str(parquet / "one.parquet"), str(parquet)]
    assert set(found([f"{parquet}/two.parquet#0"], input=again)) == {f"{parquet}/two.parquet#0"}


def test_picture_files(photos, tmp_path):
    (tmp_path / "a b.jpg").write_bytes(photos["A"])
    thumbs = found(["a b.jpg#0", "gone.jpg#0"], input=[str(tmp_path)])
    assert list(thumbs) == ["a b.jpg#0"] and thumbs["a b.jpg#0"].format == "JPEG"


def test_what_is_not_there_any_more_is_left_out(tmp_path):
    assert found(["a"], input=[str(tmp_path / "gone")]) == {}
    assert find_thumbnails(outcome([], input=[]), ["a"]) == {}


def test_the_background_is_the_run_s(tmp_path):
    Image.new("RGBA", (8, 8)).save(out := io.BytesIO(), "PNG")
    (tmp_path / "clear.png").write_bytes(out.getvalue())
    white, black = (
        find_thumbnails(example(background=one, input=[str(tmp_path)]), ["clear.png#0"]) for one in ("white", "black")
    )
    assert white != black


def test_ids_of_bytes_are_found_as_they_are_shown(photos, tmp_path):
    pq.write_table(pa.table({"key": [b"\xff\0"], "image": [photos["A"]]}), tmp_path / "one.parquet")
    assert set(found(["ff00"], input=[str(tmp_path)], id_col="key")) == {"ff00"}
    assert found(["ff00"], input=[str(tmp_path)], id_col="nothing") == {}
