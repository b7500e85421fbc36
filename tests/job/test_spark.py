"""What Spark does with it: the same answer for any partitioning, no picture in a shuffle, no hot task.

Figures are Spark's own.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Result, spark_settings
from PIL import Image

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.hash import small

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]
classic_only = pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="starts its own session")


def submit(*arguments: object, conf: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """spark-submit jobs/dedup.py, as a user runs it."""
    command = [str(Path(sys.executable).with_name("spark-submit"))]
    for name, value in {"spark.ui.enabled": "false", **conf}.items():
        command += ["--conf", f"{name}={value}"]
    command += [str(ROOT / "jobs" / "dedup.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


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


@pytest.fixture
def stages(spark) -> Callable[[], list[Any]]:
    """The stages since the last call, as Spark's own pages know them."""
    context = spark.sparkContext._jsc.sc()
    store, begun = context.statusStore(), [-1]
    defaults = [getattr(store, f"stageList$default${number}")() for number in range(2, 6)]

    def since() -> list[Any]:
        context.listenerBus().waitUntilEmpty()
        found = store.stageList(None, *defaults)
        fresh = [one for one in map(found.apply, range(found.size())) if one.stageId() > begun[0]]
        begun[0] = max([one.stageId() for one in fresh], default=begun[0])
        return fresh

    since()
    return since


def records_read(spark: Any, stage: Any) -> list[int]:
    """Of each task of a stage, from files and from shuffles."""
    found = spark.sparkContext._jsc.sc().statusStore().taskList(stage.stageId(), stage.attemptId(), 1000)
    metrics = [one.taskMetrics().get() for one in map(found.apply, range(found.size()))]
    return [one.inputMetrics().recordsRead() + one.shuffleReadMetrics().recordsRead() for one in metrics]


@classic_only
@pytest.mark.parametrize("options", [[], ["--threshold", "8"]], ids=["exact", "near"])
@pytest.mark.long
def test_no_picture_in_a_shuffle(spark, run, stages, tmp_path, monkeypatch, options):
    """Enough rows that Spark's cost for an empty block of a shuffle does not count as bytes of a row."""
    monkeypatch.setattr(small, "MOST_ROWS", 0)  # the way of large runs
    rows = 300
    written = {}
    for name, side in (("small", 16), ("large", 160)):
        pictures = [(side, seed % 200) for seed in range(rows)]
        folder = write(tmp_path / name, pictures, [rows // 3] * 3)
        with spark_settings(spark, {"spark.sql.shuffle.partitions": "4"}):
            assert run(folder, *options).summary["rows_dropped"] >= 100
        written[name] = sum(stage.shuffleWriteBytes() for stage in stages()) / rows
    assert 0 < written["small"] < 100 and 0 < written["large"] < 100
    # The picture files differ 40 times in size.
    assert abs(written["small"] - written["large"]) < 10, written


@classic_only
@pytest.mark.long
def test_a_million_rows_of_one_hash_make_no_hot_task(spark, run, stages, tmp_path, monkeypatch):
    monkeypatch.setattr(small, "MOST_ROWS", 0)  # the way of large runs
    rows = 1_000_000
    hashes = pa.array(["00000000000000ff"]).take(pa.array(np.zeros(rows, np.int64)))
    pq.write_table(pa.table({"id": np.arange(rows), "h": hashes}), tmp_path / "in.parquet", row_group_size=50_000)
    # As many partitions after a shuffle as read about as much as one of the file: one merged of all is no hot task.
    evenly = {"spark.sql.shuffle.partitions": "8", "spark.sql.adaptive.coalescePartitions.enabled": "false"}
    pieces = {"spark.sql.files.maxPartitionBytes": "400k", "spark.sql.files.openCostInBytes": "0"}
    compiled = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
    with spark_settings(spark, evenly | pieces | compiled):
        summary = run(tmp_path / "in.parquet", "--hash-col", "h", "--id-col", "id").summary
    assert (summary["rows_kept"], summary["largest_group"]) == (1, rows)
    # A hot task is one that gets the rows of all others: measured in rows read, not in seconds.
    busy = [count for stage in stages() for count in records_read(spark, stage) if count > 1000]
    assert len(busy) > 8
    assert max(busy) <= 4 * statistics.median(busy)


@classic_only
@pytest.mark.long
def test_the_answer_does_not_depend_on_how_spark_runs(spark, run, tmp_path):
    """local[1] and local[2], with and without adaptive execution, files of shuffled sizes cut in any way."""
    seeds = [(12, seed) for seed in np.random.default_rng(1).integers(0, 40, 90).tolist()]
    folder = write(tmp_path / "in", seeds, [5, 31, 2, 40, 12])
    outputs = [Result(tmp_path / "alone")]
    done = submit(
        "--input", folder, "--output", outputs[0].folder, "--threshold", "6", conf={"spark.master": "local[1]"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for adaptive, size in (("false", "1k"), ("true", "10k")):
        with spark_settings(spark, {"spark.sql.adaptive.enabled": adaptive, "spark.sql.files.maxPartitionBytes": size}):
            outputs.append(run(folder, "--threshold", "6"))
    found = [(one.ids(), sorted(map(str, one.table("duplicates")))) for one in outputs]
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
@pytest.mark.long
def test_large_photographs_pass_in_bounded_batches(tmp_path):
    """4,000-pixel photographs with a JVM of 1 GiB: neither side may hold a thousand of them."""
    one = noise(1, 4000)
    assert len(one) > 10 << 20
    pq.write_table(pa.table({"id": range(40), "image": [one] * 40}), tmp_path / "in.parquet", row_group_size=40)
    out = tmp_path / "out"
    done = submit("--input", tmp_path / "in.parquet", "--output", out, conf={"spark.driver.memory": "1g"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((out / "summary.json").read_text())["rows_kept"] == 1
