"""``imgdedup evaluate``: edits of photographs are found as the truth says, by pairs and by a column."""

from __future__ import annotations

import contextlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from imgdedup_spark.commands import evaluate
from imgdedup_spark.errors import UserError

pytestmark = pytest.mark.spark


def encoded(picture, quality=80):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@pytest.fixture
def edits(photos, tmp_path):
    """Six photographs, each with a smaller copy and a mirrored one, and one that cannot be read."""
    rows, pairs = [], []
    for letter, data in photos.items():
        plain = Image.open(io.BytesIO(data)).convert("RGB")
        smaller = encoded(ImageEnhance.Brightness(plain.resize((120, 100))).enhance(1.1))
        rows += [(letter, letter, data), (f"{letter}-small", letter, smaller)]
        rows.append((f"{letter}-mirrored", letter, encoded(plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT))))
        pairs += [(letter, f"{letter}-small", "small"), (letter, f"{letter}-mirrored", "mirrored")]
    rows.append(("broken", None, b"no picture"))
    names = ("id", "photo", "image")
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(table, tmp_path / "rows.parquet")
    lines = "".join(f"{a},{b},{kind}\n" for a, b, kind in [*pairs, ("A", "nobody", "small")])
    (tmp_path / "truth.csv").write_text("a,b,kind\n" + lines)
    return tmp_path


@pytest.fixture
def command(spark, edits):
    @contextlib.contextmanager
    def session(_):
        yield spark

    def run(*arguments):
        given = ["--input", edits / "rows.parquet", "--id-col", "id", "--html", edits / "page.html", *arguments]
        return evaluate.run([str(one) for one in given], session), json.loads((edits / "page.json").read_text())

    return run


def test_pairs_and_kinds(command, edits, capsys):
    status, notes = command("--truth", edits / "truth.csv", "--preset", "strict")
    assert status == 0 and notes["rows"] == 19 and notes["groups"] == 6 and notes["pairs"] == 18
    assert notes["unknown_ids"] == 1 and notes["rows_with_errors"] == 1 and notes["given"] == 16
    scores = {one["at"]: one for one in notes["scores"]}
    assert sorted(scores) == [1, 4, 8, 12, 16, 20, 24, 28, 32]
    # Small copies are found, mirrored ones are not: of three pairs of a group one.
    assert scores[16]["kinds"]["small"][0] == 1.0 and scores[16]["kinds"]["mirrored"][0] == 0.0
    assert scores[16]["recall"][0] == pytest.approx(1 / 3, abs=1e-6) and scores[16]["precision"][0] == 1.0
    assert scores[1]["found"] <= scores[16]["found"] == 6 and scores[16]["missed"] == 12
    assert notes["chosen"]["at"] in scores and notes["chosen"]["false"] == 0
    said = capsys.readouterr().out
    assert " <- given" in said and "small: 1.000 (1.000-1.000)" in said and "on the other half: recall" in said
    page = (edits / "page.html").read_text()
    assert page.count("<polyline") == 3 and "<script" not in page and "mirrored" in page


def test_a_column_and_views(command):
    """With turns, mirrored copies are found, too."""
    _, notes = command("--group-col", "photo", "--threshold", 8, "--invariant", "flip")
    given = next(one for one in notes["scores"] if one["at"] == 8)
    assert notes["given"] == 8 and notes["groups"] == 6 and "kinds" not in given
    assert given["recall"][0] == 1.0 and given["precision"][0] == 1.0


def test_mistakes(command, edits):
    for arguments, said in (
        ([], "give one of them"),
        (["--truth", "t.csv", "--group-col", "photo"], "give one of them"),
        (["--truth", edits / "none.csv"], "there is no such file"),
        (["--group-col", "absent"], "there is no column `absent`"),
        (["--group-col", "id"], "no two rows of the input are copies by it"),
        (["--group-col", "photo", "--keep", "id desc"], "--keep is an option of the job"),
    ):
        with pytest.raises(UserError, match=said):
            command(*arguments)
