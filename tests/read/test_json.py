"""JSON as people write it."""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_inputs import PIXELS, png

from imgdedup_spark.errors import UserError

pytestmark = pytest.mark.spark


def pictures(folder):
    (folder / "pics").mkdir(parents=True)
    for name, number in (("a", 1), ("b", 2), ("c", 3)):
        (folder / "pics" / f"{name}.png").write_bytes(png(number))


def test_a_list_in_one_row_and_a_string_in_the_next(run, tmp_path):
    pictures(tmp_path)
    inline = base64.b64encode(png(2)).decode()
    images = ["pics/a.png", ["pics/a.png"], ["pics/b.png", "pics/c.png"], "pics/b.png", None, [], inline]
    rows = [{"id": number, "image": image} for number, image in enumerate(images)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run(tmp_path / "rows.jsonl", *PIXELS, "--id-col", "id")
    assert result.dropped == {1: 0, 6: 3} and result.table("errors") == []
    assert [row["image"] for row in result.kept] == [images[number] for number in (0, 2, 3, 4, 5)]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_in_a_file(run, tmp_path, indent):
    pictures(tmp_path)
    rows = [{"id": f"{number:03}", "image": f"pics/{name}.png", "n": number} for number, name in enumerate("abac")]
    (tmp_path / "llava.json").write_text(json.dumps(rows, indent=indent))
    result = run(tmp_path / "llava.json", *PIXELS)
    assert result.dropped == {"llava.json#2": "llava.json#0"}
    assert result.kept == [rows[0], rows[1], rows[3]]


@pytest.mark.parametrize("ids", [["a", "b", "a"], ["a", None, "b"]])
def test_ids_that_repeat_are_refused(run, tmp_path, ids):
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"key": ids[:2], "image": [png(1), png(2)]}), folder / "0.parquet")
    pq.write_table(pa.table({"key": ids[2:], "image": [png(3)]}), folder / "1.parquet")
    with pytest.raises(UserError, match=r"--id-col key: an id must name one row, and it (has the value 'a'|is null)"):
        run(folder, *PIXELS, "--id-col", "key")
