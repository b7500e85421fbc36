"""The driver copies what is little as the workers copy everything."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_tar
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import CopyMismatch
from imgdedup_spark.write import copying

pytestmark = pytest.mark.spark

FILES = ["ABA", "CBD", "AE"]


@pytest.fixture
def given(tmp_path, photos):
    """A folder of some files of pictures, by kind of file."""

    def make(kind):
        folder = tmp_path / kind
        folder.mkdir()
        for number, letters in enumerate(FILES):
            images = [photos[letter] for letter in letters]
            if kind in ("parquet", "united"):
                more = {f"only in {number}": images} if kind == "united" else {}
                table = pa.table({"n": range(len(images)), "image": images, **more})
                pq.write_table(table, folder / f"{number}.parquet", row_group_size=2)
            elif kind == "jsonl":
                lines = [json.dumps({"hash": f"{ord(letter):04x}", "n": 1.50}) for letter in letters]
                (folder / f"{number}.jsonl").write_text("\n".join(lines))
            elif kind == "list":
                for letter, image in zip(letters, images, strict=True):
                    (folder / f"{letter}.jpg").write_bytes(image)
                (folder / f"{number}.txt").write_text("".join(f"{letter}.jpg\n" for letter in letters))
            else:
                write_tar(folder / f"{number}.tar", [(f"{row}.jpg", image) for row, image in enumerate(images)])
        return sorted(folder.glob("*.txt")) if kind == "list" else folder

    return make


@pytest.mark.parametrize("kind", ["parquet", "united", "jsonl", "list", "tar"])
def test_kept_is_the_same_file_by_file(run, given, monkeypatch, kind):
    inputs = given(kind)
    options = ("--hash-col", "hash") if kind == "jsonl" else ()
    told = []
    rows_of_units = copying.rows_of_units
    monkeypatch.setattr(copying, "rows_of_units", lambda *a: told.append(1) or rows_of_units(*a))
    least = 2000 if kind in ("parquet", "united") else 1
    monkeypatch.setattr("imgdedup_spark.write.kept.LEAST_FILE_BYTES", least)
    monkeypatch.setattr("imgdedup_spark.write.kept.FILE_BYTES", least)
    results = [run(inputs, *options)]
    assert bool(told) == is_remote()
    monkeypatch.setattr(copying, "HERE_BYTES", -1)
    results.append(run(inputs, *options))
    assert told
    here, there = (
        {file.name: file.read_bytes() for file in (result.folder / "kept").iterdir() if file.name[0] not in "._"}
        for result in results
    )
    assert here == there
    assert len(here) == len(FILES)
    assert results[0].summary["rows_kept"] == 5


@pytest.mark.skipif("is_remote()")
def test_what_the_driver_cannot_copy_spark_writes(run, given, monkeypatch):
    asked = []

    def refuse(*_arguments):
        asked.append(1)
        raise CopyMismatch("0.parquet: not as it is")

    folder = given("parquet")
    monkeypatch.setattr(copying, "copy_parquet", refuse)
    assert len(run(folder).kept) == 5
    assert asked
