"""The whole job with pictures that kill their decoders, as users start it: a worker that dies fails the job there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Result

sys.path.insert(0, str(Path(__file__).parents[1] / "killers"))
import killers
from killers import CODES, killer

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="starts its own session"),
]
KILLERS = Path(killers.__file__).parent


def deduplicate(folder: Path, rows: list[dict[str, object]], *options: str) -> Result:
    """The rows' outcome, by workers whose Pillow dies of killers."""
    pq.write_table(pa.Table.from_pylist(rows), folder / "pictures.parquet")
    command = [sys.executable, "-m", "imgdedup_spark.cli", "--input", "pictures.parquet", "--output", "out"]
    path = os.pathsep.join([str(KILLERS), str(KILLERS.parents[1])])
    done = subprocess.run(
        [*command, "--id-col", "name", "--image-timeout", "3", *options],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Result(folder / "out")


def test_a_report_of_pictures_that_kill(photos, tmp_path):
    """By their bytes they have been compared without a decoder; for thumbnails they meet one."""
    pictures = {"spin": killer(photos["A"], "spin"), "abort": killer(photos["A"], "abort"), "good": photos["B"]}
    rows = [{"name": f"{name} {number}", "image": data} for name, data in pictures.items() for number in (1, 2)]
    result = deduplicate(tmp_path, rows, "--method", "md5", "--report")
    page = (result.folder / "report.html").read_text("utf-8")
    assert result.summary["rows_dropped"] == 3 and page.count('src="data:image/jpeg;base64,') == 2
    assert page.count("no picture here") == 4


def test_killers_cost_a_row_each(photos, tmp_path):
    kinds = [kind for kind, code in CODES.items() if code]
    rows = [{"name": f"good {number}", "image": photos["ABCDEF"[number % 6]]} for number in range(90)]
    bad = [{"name": kind, "image": killer(photos["A"], kind)} for kind in kinds]
    for number, row in enumerate(bad):
        rows.insert(7 * number, row)
    result = deduplicate(tmp_path, rows)
    assert {row["id"]: row["error"] for row in result.table("errors")} == {kind: CODES[kind] for kind in kinds}
    hashed = [row["id"] for row in result.table("hashes") if row["imagehash"] is not None]
    assert sorted(hashed) == sorted(row["name"] for row in rows if row["name"] not in kinds)
    assert result.summary["rows_in"] == len(rows)
    assert result.summary["rows_dropped"] == 84
