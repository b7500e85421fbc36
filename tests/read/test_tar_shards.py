"""Runs over tar shards: samples in, shards of the same names out."""

from __future__ import annotations

import json
import tarfile
from types import SimpleNamespace

import pytest
from conftest import write_tar
from test_inputs import PIXELS, png

from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small
from imgdedup_spark.write.catalog import check_table

pytestmark = pytest.mark.spark


def shard(path, samples, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tar(path, samples, mode)


def names(result):
    found = {}
    for file in sorted((result.folder / "kept").rglob("*.tar*")):
        with tarfile.open(file) as made:
            found[str(file.relative_to(result.folder / "kept"))] = made.getnames()
    return found


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "in"

    def sample(key, number, text):
        note = {"caption": text, "n": number}
        return [(f"{key}.jpg", png(number)), (f"{key}.json", json.dumps(note).encode()), (f"{key}.txt", text.encode())]

    shard(folder / "0.tar", [*sample("a", 1, "x"), *sample("b", 2, "x"), *sample("c", 1, "y")])
    shard(
        folder / "1.tar.gz",
        [*sample("a", 1, "x"), *sample("d", 3, "z"), ("e.x.png", png(2)), ("e.b.png", png(2))],
        "w:gz",
    )
    shard(folder / "2.tar", [*sample("f", 3, "q"), *sample("g", 4, "q")])
    whole = (folder / "2.tar").read_bytes()
    (folder / "2.tar").write_bytes(whole[: whole.index(b"g.jpg") + 520])
    return folder


@pytest.mark.parametrize("here", [True, False])
def test_samples_are_rows_and_stay_in_their_shards(run, shards, monkeypatch, here):
    if not here:
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    result = run(shards, *PIXELS)
    assert result.dropped == {"0.tar#c": "0.tar#a", "1.tar.gz#a": "0.tar#a", "2.tar#f": "1.tar.gz#d"}
    assert [(row["id"], row["error"]) for row in result.table("errors")] == [("2.tar#.broken", "bad_row")]
    assert "ends in g.jpg" in result.table("errors")[0]["message"]
    assert names(result) == {
        "0.tar": ["a.jpg", "a.json", "a.txt", "b.jpg", "b.json", "b.txt"],
        "1.tar.gz": ["d.jpg", "d.json", "d.txt", "e.x.png", "e.b.png"],
        "2.tar": [],
    }
    assert (shards / "0.tar").read_bytes().startswith((result.folder / "kept" / "0.tar").read_bytes()[:-1024])
    assert (result.summary["rows_in"], result.summary["images"]) == (8, 8)
    again = run(shards, *PIXELS, "--overwrite", "--text-col", "json.caption", output=result.folder.name)
    assert again.dropped == {"1.tar.gz#a": "0.tar#a"}
    if here:
        (result.folder / "kept" / "mine.tar").write_bytes(b"")
        with pytest.raises(UserError, match=r"kept/mine.tar in it was not written by a run"):
            run(shards, *PIXELS, "--overwrite", output=result.folder.name)


def test_one_ending_and_ranges(run, shards):
    result = run(
        f"{shards}/{{0..1}}.tar*", *PIXELS, "--input-format", "webdataset", "--image-col", "jpg", "--text-col", "txt"
    )
    assert result.dropped == {"1.tar.gz#a": "0.tar#a"}
    with pytest.raises(UserError, match="--emit-hashes: tar shards"):
        run(shards, *PIXELS, "--emit-hashes")
    with pytest.raises(UserError, match="--output-format jsonl: tar shards"):
        run(shards, *PIXELS, "--output-format", "jsonl")


def test_an_output_that_workers_cannot_write_is_refused_before_any_work():
    source = SimpleNamespace(format="webdataset", native="webdataset")
    with pytest.raises(UserError, match="--output nosuch://there/out: the workers write tar shards"):
        check_table(None, source, JobConfig(output="nosuch://there/out"), "nosuch://there/out")
