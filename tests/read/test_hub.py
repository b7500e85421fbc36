"""Data sets on the Hugging Face Hub, in whose place a server answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import conftest
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from PIL import Image

pytest.importorskip("huggingface_hub")
ONCE = pytest.mark.skipif(conftest.MODE != "classic" or pyspark.__version__.startswith("3."), reason="once is enough")
HERE = Path(__file__).resolve().parent


@pytest.fixture
def hub(photos, tmp_path):
    """A repository with two Parquet files, and one with pictures."""
    home = tmp_path / "hub"
    (home / "me" / "set" / "data").mkdir(parents=True)
    rows = [{"image": {"bytes": photos[name], "path": None}, "caption": name} for name in "ABCA"]
    for number, some in enumerate((rows[:2], rows[2:])):
        pq.write_table(pa.Table.from_pylist(some), home / "me" / "set" / "data" / f"train-{number}.parquet")
    (home / "me" / "set" / "README.md").write_text("a card")
    (home / "me" / "pictures").mkdir()
    (home / "me" / "pictures" / "c.jpg").write_bytes(photos["C"])
    server = subprocess.Popen(
        [sys.executable, HERE / "hub_server.py", home], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.kill()
    server.wait()


@ONCE
@pytest.mark.spark
@pytest.mark.long
def test_a_data_set_of_the_hub_and_pictures_there(hub, tmp_path):
    """In a Spark of its own, whose workers ask the server, too."""
    program = "import sys; from imgdedup_spark.cli import main; sys.exit(main(sys.argv[1:]))"
    options = [
        "--input",
        "hf://datasets/me/set",
        "--output",
        tmp_path / "out",
        "--against",
        "hf://datasets/me/pictures",
    ]
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(tmp_path / "home"),
        "PYSPARK_PYTHON": sys.executable,
    }
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, options)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = conftest.Result(tmp_path / "out")
    assert [row["caption"] for row in result.kept] == ["A", "B"]
    assert {(row["id"], row["kept_id"], row["reason"]) for row in result.table("duplicates")} == {
        ("data/train-1.parquet#0", "c.jpg#0", "in_reference"),
        ("data/train-1.parquet#1", "data/train-0.parquet#0", "same_hash"),
    }
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["passed_over"]["other_format"]["count"] == 1


@ONCE
@pytest.mark.spark
def test_what_is_kept_loads_as_the_data_set_that_it_was(run, photos, tmp_path):
    """Pictures are pictures there, also with the columns that --emit-hashes adds."""
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": photos[name], "path": f"{name}.jpg"} for name in "ABA"], "label": [0, 1, 0]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", "--emit-hashes")
    files = sorted(map(str, (result.folder / "kept").glob("*.parquet")))
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=tmp_path / "cache")
    assert {name: loaded.features[name] for name in features} == features
    assert [one["label"] for one in loaded] == [0, 1] and len({one["imagehash"] for one in loaded}) == 2
    assert [one["image"].convert("RGB").tobytes() for one in loaded] == [
        Image.open(io.BytesIO(photos[name])).convert("RGB").tobytes() for name in "AB"
    ]
