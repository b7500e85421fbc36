"""``imgdedup advise``: a page and the same numbers as JSON, of samples of every kind, and nothing else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.commands import advise
from imgdedup_spark.errors import UserError
from imgdedup_spark.read import sample
from imgdedup_spark.read.open import read_source

pytestmark = pytest.mark.spark


@pytest.fixture
def command(spark, tmp_path):
    @contextlib.contextmanager
    def session(_):
        yield spark

    def run(*arguments):
        arguments = [*map(str, arguments), "--html", str(tmp_path / "page.html")]
        return advise.run(arguments, session), json.loads((tmp_path / "page.json").read_text())

    return run


def test_pictures(spark, command, photos, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, letter in enumerate("AABBBCDEF"):
        (folder / f"{number}.jpg").write_bytes(photos[letter])
    (folder / "broken.jpg").write_bytes(photos["A"][:300])
    status, notes = command("--input", folder, "--method", "md5", "phash")
    assert status == 0 and sorted(one.name for one in tmp_path.iterdir()) == ["in", "page.html", "page.json"]
    assert notes["rows"] == notes["rows_looked_at"] == 10 and notes["rows_with_errors"] == 1
    dropped = {name: [one["dropped"] for one in method["thresholds"]] for name, method in notes["methods"].items()}
    assert dropped["md5"] == [3] and dropped["phash"][0] == 3 and len(dropped["phash"]) == 7
    assert "All rows were looked at." in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/") >= 6 and "<script" not in page
    with pytest.raises(UserError, match=r"page\.html: it is there already; name another file or add --overwrite"):
        command("--input", folder)
    found = sample.sample_rows(read_source(spark, [str(folder)], None), 5, None)
    assert found.rows == 10 and 0 < found.source.frame.count() < 10 and "One row in 2.0 was looked at" in found.how


def test_ready_hashes_by_bands(command, tmp_path):
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 1 << 62, 3000)
    hashes = [f"{value:016x}" for value in [*plain, *plain]]
    pq.write_table(pa.table({"h": hashes}), tmp_path / "hashes.parquet")
    _, notes = command("--input", tmp_path / "hashes.parquet", "--hash-col", "h", "--rows", 1500)
    assert notes["rows"] == 6000 and 1000 < notes["rows_looked_at"] < 2000
    first = notes["methods"]["hashes in h"]["thresholds"][0]
    # Copies are in the sample together: half of it goes, as of the whole.
    assert first["dropped"] == notes["rows_looked_at"] / 2
    assert first["forecast"]["low"] < 3000 < first["forecast"]["high"]


def test_of_files_that_must_be_passed_through_few_are_read(spark, tmp_path, monkeypatch):
    for number in range(6):
        lines = [json.dumps({"image": f"{number}-{row}.png"}) for row in range(20)]
        Path(tmp_path / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    source = read_source(spark, [str(tmp_path)], None)
    monkeypatch.setattr(sample, "BYTES_A_ROW", 25)
    found = sample.sample_rows(source, 50, None)
    assert found.source.frame.count() in (20, 40) and 110 <= found.rows <= 130 and not found.exact
    assert "of 6 files were read" in found.how and "One row" not in found.how
    found = sample.sample_rows(source, 15, None)
    assert 5 <= found.source.frame.count() < 20 and "1 of 6 files were read" in found.how and "One row" in found.how


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--input is required"),
        (["--input", "a", "--hash-col", "h", "--method", "phash"], "leave one out"),
        (["--input", "a", "--threshold", "3"], "--threshold is an option of the job"),
        (["--input", "a", "--rows", "0"], "--rows is 1 or more"),
        (["--input", "a", "--hash-size", "1"], "hash size 1 is out of range"),
    ],
)
def test_mistakes(arguments, said, tmp_path):
    with pytest.raises(UserError, match=said):
        advise.run([*arguments, "--html", str(tmp_path / "page.html")], None)
