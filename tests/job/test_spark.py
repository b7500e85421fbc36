"""What Spark does with it: the same answer for any partitioning, no picture in a shuffle, no hot task.

Figures are Spark's own, from the event log of a job started as a user starts it.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imgdedup_spark import DedupConfig, deduplicate

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]
classic_only = pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="starts its own session")


def submit(
    *arguments: object, conf: dict[str, str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """spark-submit jobs/dedup.py, as a user runs it."""
    command = [str(Path(sys.executable).with_name("spark-submit"))]
    for name, value in {"spark.ui.enabled": "false", **(conf or {})}.items():
        command += ["--conf", f"{name}={value}"]
    command += [str(ROOT / "jobs" / "dedup.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=600)


def noise(seed: int, side: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write(folder: Path, sides_and_seeds: list[tuple[int, int]], sizes: list[int]) -> Path:
    folder.mkdir(parents=True)
    start = 0
    for number, size in enumerate(sizes):
        part = list(range(start, start + size))
        images = [noise(*reversed(sides_and_seeds[row])) for row in part]
        pq.write_table(pa.table({"id": part, "image": images}), folder / f"{number:02d}.parquet", row_group_size=3)
        start += size
    return folder


def events(folder: Path) -> list[dict]:
    files = [file for file in folder.rglob("*") if file.is_file() and "appstatus" not in file.name]
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def logged(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }


def tasks(log: list[dict]) -> list[dict]:
    return [event for event in log if event["Event"] == "SparkListenerTaskEnd" and event.get("Task Metrics")]


def shuffle_bytes(log: list[dict]) -> int:
    return sum(task["Task Metrics"]["Shuffle Write Metrics"]["Shuffle Bytes Written"] for task in tasks(log))


@classic_only
@pytest.mark.parametrize("options", [[], ["--threshold", "8"]], ids=["exact", "near"])
def test_no_picture_in_a_shuffle(tmp_path, monkeypatch, options):
    """Enough rows that Spark's cost for an empty block of a shuffle does not count as bytes of a row."""
    monkeypatch.setenv("IMGDEDUP_DRIVER_ROWS", "0")  # the way of large runs
    rows = 300
    written = {}
    for name, side in (("small", 16), ("large", 160)):
        pictures = [(side, seed % 200) for seed in range(rows)]
        folder = write(tmp_path / name, pictures, [rows // 3] * 3)
        log = tmp_path / f"log-{name}"
        conf = logged(log) | {"spark.sql.shuffle.partitions": "4"}
        done = submit("--input", folder, "--output", tmp_path / f"out-{name}", *options, conf=conf)
        assert done.returncode == 0, done.stderr[-2000:]
        summary = json.loads((tmp_path / f"out-{name}" / "summary.json").read_text())
        assert summary["rows_dropped"] >= 100
        written[name] = shuffle_bytes(events(log)) / rows
    assert 0 < written["small"] < 100 and 0 < written["large"] < 100
    # The picture files differ 40 times in size.
    assert abs(written["small"] - written["large"]) < 10, written


@classic_only
def test_a_million_rows_of_one_hash_make_no_hot_task(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGDEDUP_DRIVER_ROWS", "0")  # the way of large runs
    rows = 1_000_000
    hashes = pa.array(["00000000000000ff"]).take(pa.array(np.zeros(rows, np.int64)))
    pq.write_table(pa.table({"id": np.arange(rows), "h": hashes}), tmp_path / "in.parquet", row_group_size=50_000)
    # As many partitions after a shuffle as read about as much as one of the file: one merged of all is no hot task.
    evenly = {"spark.sql.shuffle.partitions": "8", "spark.sql.adaptive.coalescePartitions.enabled": "false"}
    conf = logged(tmp_path / "log") | evenly | {"spark.master": "local[2]", "spark.sql.files.maxPartitionBytes": "400k"}
    options = ("--hash-col", "h", "--id-col", "id", "--output", tmp_path / "out")
    done = submit("--input", tmp_path / "in.parquet", *options, conf=conf | {"spark.sql.files.openCostInBytes": "0"})
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["rows_kept"], summary["largest_group"]) == (1, rows)
    # A hot task is one that gets the rows of all others: measured in rows read, not in seconds.
    read = [
        task["Task Metrics"]["Input Metrics"]["Records Read"]
        + task["Task Metrics"]["Shuffle Read Metrics"]["Total Records Read"]
        for task in tasks(events(tmp_path / "log"))
    ]
    busy = [count for count in read if count > 1000]
    assert len(busy) > 8
    assert max(busy) <= 4 * statistics.median(busy)


@classic_only
def test_the_answer_does_not_depend_on_how_spark_runs(tmp_path):
    """local[1] and local[2], with and without adaptive execution, files of shuffled sizes cut in any way."""
    seeds = [(12, seed) for seed in np.random.default_rng(1).integers(0, 40, 90).tolist()]
    folder = write(tmp_path / "in", seeds, [5, 31, 2, 40, 12])
    found = []
    for number, (master, adaptive, size) in enumerate(
        [("local[1]", "true", "128m"), ("local[2]", "false", "1k"), ("local[2]", "true", "10k")]
    ):
        out = tmp_path / f"out{number}"
        conf = {
            "spark.master": master,
            "spark.sql.adaptive.enabled": adaptive,
            "spark.sql.files.maxPartitionBytes": size,
        }
        done = submit("--input", folder, "--output", out, "--threshold", "6", conf=conf)
        assert done.returncode == 0, done.stderr[-2000:]
        kept = [
            row for file in sorted((out / "kept").glob("*.parquet")) for row in pq.read_table(file)["id"].to_pylist()
        ]
        dropped = sorted(map(str, pq.read_table(out / "duplicates").to_pylist()))
        found.append((kept, dropped))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == sorted(found[0][0]) and 0 < len(found[0][1]) < 90


def test_partitions_of_a_dataframe_do_not_matter(spark, tmp_path):
    seeds = [(12, seed) for seed in np.random.default_rng(2).integers(0, 20, 50).tolist()]
    folder = write(tmp_path / "in", seeds, [7, 30, 13])
    plain = spark.read.parquet(str(folder))
    rebuilt = spark.createDataFrame(plain.collect(), plain.schema)
    found = []
    for frame in (plain, plain.repartition(1), plain.repartition(2), rebuilt.repartition(7)):
        result = deduplicate(frame, DedupConfig(), id_col="id")
        found.append((sorted(row.id for row in result.kept.collect()), sorted(map(str, result.duplicates.collect()))))
        result.close()
    assert found[1:] == found[:-1]


@classic_only
def test_large_photographs_pass_in_bounded_batches(tmp_path):
    """4,000-pixel photographs with a JVM of 1 GiB: neither side may hold a thousand of them."""
    one = noise(1, 4000)
    assert len(one) > 10 << 20
    pq.write_table(pa.table({"id": range(40), "image": [one] * 40}), tmp_path / "in.parquet", row_group_size=40)
    out = tmp_path / "out"
    done = submit("--input", tmp_path / "in.parquet", "--output", out, conf={"spark.driver.memory": "1g"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((out / "summary.json").read_text())["rows_kept"] == 1
