"""The whole job with pictures that kill their decoders: a worker that dies fails the job in local mode."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "killers"))
import killers
from killers import CODES, killer

pytestmark = pytest.mark.spark


def saved(folder: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "pictures.parquet")
    return folder / "pictures.parquet"


@pytest.fixture
def dying(monkeypatch):
    """This process decodes as the workers do."""
    with killers.dying(monkeypatch):
        yield


def test_a_report_of_pictures_that_kill(run, dying, photos, tmp_path):
    """By their bytes they have been compared without a decoder; for thumbnails they meet one."""
    pictures = {"spin": killer(photos["A"], "spin"), "abort": killer(photos["A"], "abort"), "good": photos["B"]}
    rows = [{"name": f"{name} {number}", "image": data} for name, data in pictures.items() for number in (1, 2)]
    result = run(saved(tmp_path, rows), "--id-col", "name", "--image-timeout", 3, "--method", "md5", "--report")
    page = (result.folder / "report.html").read_text("utf-8")
    assert result.summary["rows_dropped"] == 3 and page.count('src="data:image/jpeg;base64,') == 2
    assert page.count("no picture here") == 4


def test_killers_cost_a_row_each(run, photos, tmp_path):
    kinds = [kind for kind, code in CODES.items() if code]
    rows = [{"name": f"good {number}", "image": photos["ABCDEF"[number % 6]]} for number in range(90)]
    bad = [{"name": kind, "image": killer(photos["A"], kind)} for kind in kinds]
    for number, row in enumerate(bad):
        rows.insert(7 * number, row)
    result = run(saved(tmp_path, rows), "--id-col", "name", "--image-timeout", 3)
    assert {row["id"]: row["error"] for row in result.table("errors")} == {kind: CODES[kind] for kind in kinds}
    hashed = [row["id"] for row in result.table("hashes") if row["imagehash"] is not None]
    assert sorted(hashed) == sorted(row["name"] for row in rows if row["name"] not in kinds)
    assert result.summary["rows_in"] == len(rows)
    assert result.summary["rows_dropped"] == 84
