"""Runs over lists of paths: a picture a line in, the lines that stay out."""

from __future__ import annotations

import os

import pytest
from test_inputs import PIXELS, png

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.listing import Walk
from imgdedup_spark.read.listing import Listing, _root
from imgdedup_spark.read.open import _kind_of


def written(result):
    return b"".join(file.read_bytes() for file in sorted((result.folder / "kept").glob("part-*.txt")))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, shade in {"a.png": 1, "b [1]{x}.png": 2, "sub/c%20.png": 1, "é.png": 3, "{not json": 4}.items():
        (folder / name).write_bytes(png(shade))
    (folder / os.fsdecode(b"odd\xff.png")).write_bytes(png(5))
    return folder


@pytest.mark.spark
def test_lists_stay_lists(run, pictures):
    first = b"\xef\xbb\xbfa.png\r\nb [1]{x}.png\r\n\r\nsub/c%20.png\r\n  \nsub/../\xc3\xa9.png\nmissing.png\n"
    second = b"odd\xff.png\n" + os.fsencode(pictures / "a.png") + b"\n{not json\nodd\xff.png\nmissing\xfe.png"
    (pictures / "one.txt").write_bytes(first)
    (pictures / "two.txt").write_bytes(second)
    result = run([pictures / "one.txt", pictures / "two.txt"], *PIXELS, "--show-num", 2)
    assert result.dropped == {"one.txt#2": "one.txt#0", "two.txt#1": "one.txt#0", "two.txt#3": "two.txt#0"}
    assert [(row["id"], row["error"]) for row in sorted(result.table("errors"), key=lambda row: row["id"])] == [
        ("one.txt#4", "not_found"),
        ("two.txt#4", "not_found"),
    ]
    assert written(result) == (
        b"a.png\r\nb [1]{x}.png\r\nsub/../\xc3\xa9.png\nmissing.png\nodd\xff.png\n{not json\nmissing\xfe.png\n"
    )
    assert (result.summary["rows_in"], result.summary["rows_kept"]) == (10, 7)
    assert result.summary["passed_over"] == {"blank_line": {"count": 2, "examples": [str(pictures / "one.txt")]}}
    assert sorted(pair["dropped"]["path"] for pair in result.lines("pairs"))[0] in ("odd\\xff.png", "sub/c%20.png")
    with pytest.raises(UserError, match="--emit-hashes: a list has no columns"):
        run(pictures / "one.txt", *PIXELS, "--emit-hashes")
    with pytest.raises(UserError, match="--strict: passed over 2 blank_line"):
        run(pictures / "one.txt", *PIXELS, "--strict")


@pytest.mark.spark
def test_image_root_and_other_formats(run, pictures, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "all.lst").write_text("sub/c%20.png\na.png\né.png\n../secret.png\n", "utf-8")
    how = (*PIXELS, "--image-root", pictures, "--input-format", "list", "--output-format", "jsonl", "--emit-hashes")
    result = run(tmp_path / "lists", *how)
    assert result.dropped == {"all.lst#1": "all.lst#0"}
    assert [row["path"] for row in result.kept] == ["sub/c%20.png", "é.png", "../secret.png"]
    assert [row["error"] for row in result.table("errors")] == ["forbidden_path"]


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        (["a.txt", "b/c.lst"], "list"),
        (["b/*"], "list"),
        (["*"], "images"),
        (["a.txt", "b"], None),
        (["b"], None),
        (["p.png"], "images"),
    ],
)
def test_notes_are_no_lists(tmp_path, inputs, kind):
    (tmp_path / "b").mkdir()
    for name in ("a.txt", "b/c.lst", "p.png"):
        (tmp_path / name).write_bytes(png(1) if name == "p.png" else b"p.png")
    walk = Walk()
    paths = [f"{tmp_path}/{one}" for one in inputs]
    found = [walk.files(path) for path in paths]
    roots = [_root(path, folder, files, "") for path, (folder, files) in zip(paths, found, strict=True)]
    listing = Listing(tuple(paths), tuple(roots), tuple(tuple(files) for _, files in found), walk.passed)
    if kind is None:
        with pytest.raises(UserError, match="say it with --input-format"):
            _kind_of(listing)
    else:
        assert _kind_of(listing) == kind
