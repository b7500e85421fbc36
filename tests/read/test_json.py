"""JSON as people write it."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_inputs import PIXELS, png

from imgdedup_spark.errors import JobError, UserError

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


def bytes_kept(result):
    return b"".join(file.read_bytes() for file in sorted((result.folder / "kept").iterdir()))


def test_lines_that_are_no_rows(run, tmp_path):
    pictures(tmp_path)
    lines = [
        b'{"image": "pics/a.png", "n": 1.0}',
        b"3",
        b'{"image": "pics/a.png"}',
        b'"x"',
        b'{"image": "pics/b.png", "t": "\xff"}',
        b"no json",
        b"[]",
        b'{"image": "pics/b.png", "n": 1, "image": "pics/a.png"}',
        b'{"image": "pics/b.png", "n": "cut',
    ]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    result = run(tmp_path / "rows.jsonl", *PIXELS)
    errors = {row["id"]: row for row in result.table("errors")}
    assert list(errors) == [f"rows.jsonl#{number}" for number in (1, 3, 4, 5, 6, 7, 8)]
    assert {(row["position"], row["error"], row["level"]) for row in errors.values()} == {(0, "bad_row", "error")}
    assert errors["rows.jsonl#3"]["message"] == "rows.jsonl row 3: no object but a string"
    assert result.dropped == {"rows.jsonl#2": "rows.jsonl#0"} and result.summary["rows_with_errors"] == 7
    assert bytes_kept(result) == b"".join(line + b"\n" for line in (lines[:2] + lines[3:]))
    assert bytes_kept(run(tmp_path / "rows.jsonl", *PIXELS, "--on-error", "drop")) == lines[0] + b"\n"
    as_table = run(tmp_path / "rows.jsonl", *PIXELS, "--output-format", "parquet")
    assert as_table.kept == [{"image": "pics/a.png", "n": 1.0}] + [{"image": None, "n": None}] * 7
    with pytest.raises(JobError, match="bad_row"):
        run(tmp_path / "rows.jsonl", *PIXELS, "--on-error", "fail")
    (tmp_path / "ids.jsonl").write_bytes(b'{"id": 7, "image": null}\n3\n4\n')
    with_ids = run(tmp_path / "ids.jsonl", *PIXELS, "--id-col", "id")
    assert [(row["id"], row["error"]) for row in with_ids.table("errors")] == [(None, "bad_row")] * 2
    assert bytes_kept(with_ids) == b'{"id": 7, "image": null}\n3\n4\n'
    (tmp_path / "none.jsonl").write_bytes(b"\n".join(lines[1:2] + lines[3:]))
    with pytest.raises(UserError, match=r"--input: holds no row; .*none.jsonl row 0: no object but a number"):
        run(tmp_path / "none.jsonl", *PIXELS)


def test_lines_that_are_no_rows_beside_ready_hashes_and_embeddings(run, tmp_path):
    rows = ['{"hash": "00", "v": [1, 0]}', "no json", '{"hash": "00", "v": [1, 0.0]}']
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    for options in (("--hash-col", "hash"), ("--method", "clip", "--embedding-col", "v")):
        result = run(tmp_path / "rows.jsonl", *options)
        assert [(row["id"], row["error"]) for row in result.table("errors")] == [("rows.jsonl#1", "bad_row")]
        assert result.dropped == {"rows.jsonl#2": "rows.jsonl#0"}


def test_strings_lists_and_objects_in_one_field(run, tmp_path):
    pictures(tmp_path)
    inline = base64.b64encode(png(2)).decode()
    images = [
        "pics/a.png",
        {"path": "pics/a.png"},
        {"bytes": inline, "path": "x.png"},
        ["pics/b.png"],
        [{"path": "pics/b.png"}, "pics/c.png"],
        [{"bytes": inline}, {"path": "pics/c.png"}],
        {"path": None},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"image": image}) + "\n" for image in images))
    result = run(tmp_path / "rows.jsonl", *PIXELS)
    assert result.table("errors") == [] and result.summary["images"] == 8
    assert result.dropped == {f"rows.jsonl#{gone}": f"rows.jsonl#{kept}" for gone, kept in ((1, 0), (3, 2), (5, 4))}


def test_arrays_and_lines_and_hidden_names_in_one_input(run, tmp_path):
    pictures(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.json").write_text('[\n {"image": "pics/a.png", "x": 1.50},\n {"image": "pics/a.png"}\n]')
    (folder / "_b%20.jsonl").write_text('{"image": "pics/a.png"}\n{"image": "pics/b.png", "x": 1e3}\n')
    (folder / "c.json.gz").write_bytes(gzip.compress(b'[{"image": "pics/b.png"}, {"image": "pics/c.png"}]'))
    (folder / "info.json").write_text('{\n  "note": "x"\n}\n')
    result = run(folder, *PIXELS, "--image-root", tmp_path)
    assert result.dropped == {"a.json#0": "_b%20.jsonl#0", "a.json#1": "_b%20.jsonl#0", "c.json.gz#0": "_b%20.jsonl#1"}
    assert bytes_kept(result).splitlines() == [
        b'{"image": "pics/a.png"}',
        b'{"image": "pics/b.png", "x": 1e3}',
        b'{"image": "pics/c.png"}',
    ]
    assert result.summary["passed_over"]["other_format"]["count"] == 1


def test_files_that_call_their_pictures_by_two_names(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"image": "a.png"}\n')
    (tmp_path / "in" / "b.jsonl").write_text('{"images": ["b.png"]}\n')
    with pytest.raises(UserError, match="--image-col: some files have `images` and others `image`"):
        run(tmp_path / "in")


def test_a_file_that_does_not_decompress(run, tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"image": null}\n' * 999)[:-20])
    with pytest.raises(UserError, match=r"a.jsonl.gz cannot be read"):
        run(tmp_path / "a.jsonl.gz", *PIXELS)


def test_what_spark_alone_reads(run, tmp_path):
    """Hadoop's own compression: the same rows and errors, through Spark's reader."""
    pictures(tmp_path)
    text = b'{"image": "pics/a.png"}\nno json\n{"image": ["pics/a.png"]}\n3\n'
    (tmp_path / "rows.jsonl.deflate").write_bytes(zlib.compress(text))
    result = run(tmp_path / "rows.jsonl.deflate", *PIXELS)
    assert result.dropped == {"rows.jsonl.deflate#2": "rows.jsonl.deflate#0"}
    errors = {(row["id"], row["error"]) for row in result.table("errors")}
    assert errors == {(f"rows.jsonl.deflate#{number}", "bad_row") for number in (1, 3)}
    assert len(result.kept) == 3 and all(row.keys() <= {"image"} for row in result.kept)


def test_folders_of_what_spark_alone_reads(run, tmp_path):
    for number, value in enumerate(("00012", "a%20b")):
        folder = tmp_path / "in" / f"shard={value}" / "own=0"
        folder.mkdir(parents=True)
        (folder / "0.jsonl.deflate").write_bytes(zlib.compress(json.dumps({"own": f"{number}"}).encode()))
    kept = run(tmp_path / "in", "--image-col", "own", *PIXELS).kept
    assert [(row["shard"], row["own"]) for row in kept] == [("00012", "0"), ("a b", "1")]


def test_values_of_folders(run, tmp_path):
    for key, value in (("00012", "a"), ("x%3Dy", "b")):
        folder = tmp_path / "in" / f"shard={key}"
        folder.mkdir(parents=True)
        (folder / "0.jsonl").write_text(json.dumps({"text": value, "image": None}) + "\n")
    assert [(row["text"], row["shard"]) for row in run(tmp_path / "in", *PIXELS).kept] == [("a", "00012"), ("b", "x=y")]
    (tmp_path / "in" / "shard=00012" / "1.jsonl").write_text('{"text": "c", "shard": 7}\n')
    assert [row.get("shard") for row in run(tmp_path / "in", *PIXELS).kept] == [None, 7, None]
