"""OpenLineage's listener, with its file transport, hears of a job that knows nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from servers import jars, need

pytestmark = need("lineage")
ROOT = Path(__file__).parents[2]


def test_the_listener_hears_of_the_run_and_its_input(tmp_path, photos):
    pq.write_table(pa.table({"id": list("abc"), "image": [photos[one] for one in "ABA"]}), tmp_path / "in.parquet")
    events = tmp_path / "events.json"
    settings = {
        "spark.ui.enabled": "false",
        "spark.jars": jars("lineage"),
        "spark.extraListeners": "io.openlineage.spark.agent.OpenLineageSparkListener",
        "spark.openlineage.transport.type": "file",
        "spark.openlineage.transport.location": str(events),
    }
    command = [str(Path(sys.executable).with_name("spark-submit"))]
    for name, value in settings.items():
        command += ["--conf", f"{name}={value}"]
    command += [str(ROOT / "jobs" / "dedup.py"), "--input", str(tmp_path / "in.parquet"), "--id-col", "id"]
    command += ["--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    told = [json.loads(line) for line in events.read_text("utf-8").splitlines()]
    assert "imgdedup" in {one["job"]["name"] for one in told}
    assert told[-1]["eventType"] == "COMPLETE"
    read = {place["name"] for one in told for place in one["inputs"]}
    assert str(tmp_path / "in.parquet") in read or str(tmp_path) in read
