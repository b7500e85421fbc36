"""CSV files, and metadata beside pictures."""

from __future__ import annotations

import json
import os

import pytest
from test_inputs import PIXELS, png

from imgdedup_spark.errors import UserError

pytestmark = pytest.mark.spark


def test_csv_with_a_header(run, tmp_path):
    folder = tmp_path / "in"
    (folder / "pics").mkdir(parents=True)
    for number in range(3):
        (folder / "pics" / f"{number}").write_bytes(png(number))
    (folder / "a.csv").write_text('id,image,caption\n001,pics/0,"two\nlines, ""quoted"""\n002,pics/1,\n003\n')
    (folder / "_b.tsv").write_text("image\tid\tscore\npics/0\t004\t0.50\npics/2\t005\t1\n")
    result = run(folder, *PIXELS, "--image-root", folder, "--text-col", "caption", "--missing", "keep")
    assert result.dropped == {}
    result = run(folder, *PIXELS, "--image-root", folder)
    assert result.dropped == {"a.csv#0": "_b.tsv#0"}
    assert result.kept == [
        {"image": "pics/0", "id": "004", "score": "0.50", "caption": None},
        {"image": "pics/2", "id": "005", "score": "1", "caption": None},
        {"image": "pics/1", "id": "002", "score": None, "caption": None},
        {"image": None, "id": "003", "score": None, "caption": None},
    ]
    assert [(row["id"], row["error"]) for row in result.table("errors")] == [("a.csv#2", "bad_row")]
    (folder / "c.csv").write_text("image,image\n")
    with pytest.raises(UserError, match=r"c.csv: its header has the column `image` twice"):
        run(folder, *PIXELS)


@pytest.mark.parametrize("options", [(), ("--threshold", "0", "--emit-hashes")])
def test_ids_of_metadata(run, tmp_path, options):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, number in (("a.png", 1), ("b.png", 2), ("c.png", 1)):
        (folder / name).write_bytes(png(number))
    lines = [{"file_name": f"{name}.png", "key": key} for name, key in (("a", 30), ("b", 20), ("c", 10))]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run(folder, *PIXELS, "--id-col", "key", *options)
    assert result.dropped == {10: 30} and result.ids("key") == [30, 20]
    assert result.ids("path") == [f"{folder}/a.png", f"{folder}/b.png"]
    (folder / "metadata.jsonl").write_text("".join(json.dumps({**line, "key": 1}) + "\n" for line in lines))
    with pytest.raises(UserError, match="--id-col key"):
        run(folder, *PIXELS, "--id-col", "key", *options)


def test_metadata_beside_pictures(run, tmp_path):
    folder = tmp_path / "in"
    (folder / "train").mkdir(parents=True)
    for name, number in (("a.png", 1), ("train/b.png", 1), ("train/c.png", 2), ("d.png", 1)):
        (folder / name).write_bytes(png(number))
    (folder / "metadata.csv").write_text("file_name,text,id\na.png,one,1\ntrain/c.png,two,\ngone.png,three,3\n,x,y\n")
    (folder / "train" / "metadata.jsonl").write_text(
        '{"file_name": "b.png", "score": 1.5}\n{"file_name": "c.png"}\nx\n'
    )
    result = run(folder, *PIXELS)
    assert result.summary["passed_over"]["metadata_line"]["count"] == 4
    assert result.dropped == {"d.png#0": "a.png#0", "train/b.png#0": "a.png#0"}
    assert result.kept == [
        {"path": f"{folder}/a.png", "text": "one", "id": "1", "score": None},
        {"path": f"{folder}/train/c.png", "text": "two", "id": None, "score": None},
    ]
    with_text = run(folder, *PIXELS, "--text-col", "text", "--emit-hashes", "--output-format", "parquet")
    assert with_text.dropped == {"train/b.png#0": "d.png#0"}
    assert [row["text"] for row in with_text.kept] == ["one", None, "two"] and with_text.kept[0]["texthash"]
    assert run(folder, *PIXELS, "--keep", "score desc").ids("path") == [
        f"{folder}/train/b.png",
        f"{folder}/train/c.png",
    ]
    (folder / "metadata.csv").write_text("input_file_name,output_file_name,edit\na.png,d.png,grey\n")
    assert run(folder, *PIXELS, "--method", "md5", "--keep", "edit desc").kept == [
        {
            "path": f"{folder}/a.png",
            "input_file_name": "a.png",
            "output_file_name": "d.png",
            "edit": "grey",
            "score": None,
        },
        {
            "path": f"{folder}/train/c.png",
            "input_file_name": None,
            "output_file_name": None,
            "edit": None,
            "score": None,
        },
    ]
    (folder / "metadata.csv").write_text("file_name,path\na.png,x\n")
    with pytest.raises(UserError, match="metadata has a column `path`"):
        run(folder, *PIXELS)


def test_pictures_whose_names_are_no_utf_8(run, tmp_path):
    folder = tmp_path / "in"
    (folder / "ok").mkdir(parents=True)
    for name, number in ((b"caf\xe9%.png", 1), (b"caf%E9%.png", 2), (b"ok/x.png", 1), (b"\xff\xfe/y.png", 3)):
        path = os.fsencode(folder) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - pathlib has no bytes
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(png(number))
    result = run(folder, *PIXELS)
    odd = f"file://{folder}/caf%E9%25.png"
    assert {row["path"] for row in result.kept} >= {f"{folder}/caf%E9%.png", f"file://{folder}/%FF%FE/y.png"}
    assert result.dropped in ({"ok/x.png#0": f"{odd}#0"}, {f"{odd}#0": "ok/x.png#0"})
    assert result.table("errors") == [] and result.summary["rows_in"] == 4
    again = run(result.folder / "kept", *PIXELS, "--image-col", "path")
    assert again.table("errors") == [] and again.summary["rows_kept"] == 3
    path = os.fsencode(folder) + b"/\xff.jsonl"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"{}")
    assert run(folder, *PIXELS, "--input-format", "images").summary["passed_over"]["other_format"]["count"] == 1
