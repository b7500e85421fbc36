"""Each configuration in ``conf/`` on rows of the demo's data."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import conftest
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest

from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.spark.given import given_settings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
sys.path.insert(0, str(ROOT / "demo"))
#: Those that run a model; tests/job/test_embeddings_job.py runs them where there is one.
MODELS = {"embeddings", "stages"}
NEEDS = {"daily_index": ("--run-id", "2026-11-25", "--index", "seen"), "decontamination": ("--against", "eval.parquet")}
#: Which copies each finds of those that `rows` picks: all are of the one picture.
COPIES = {"the same file", "re-encoded", "as PNG"}
FINDS = {
    "exact": {"the same file"},
    "text_image": COPIES,
    "daily_index": COPIES,
    "decontamination": {"original", *COPIES},
}


def picked(monkeypatch):
    """A picture in some copies, one of them with another caption, two other pictures, and one that is broken."""
    import make_data

    monkeypatch.setattr(make_data, "PHOTOGRAPHS", ["astronaut", "coffee", "rocket"])
    monkeypatch.setattr(make_data, "CROPS", 1)
    first, second, third, *_ = make_data.rows()
    picture = make_data.Image.open(io.BytesIO(first["image"]["bytes"]))
    copies = {
        "the same file": first["image"]["bytes"],
        "re-encoded": make_data.encoded(picture, quality=60),
        "as PNG": make_data.encoded(picture.resize((200, 150)), "PNG"),
    }
    rows = [first, second, third]
    rows += [{**first, "edit": name, "image": {"bytes": data, "path": None}} for name, data in copies.items()]
    rows += [{**first, "edit": "broken", "caption": "other", "image": {"bytes": b"\xff\xd8\xff", "path": None}}]
    return [{**row, "id": number} for number, row in enumerate(rows)]


def write(folder, rows, name):
    """As Parquet, and for tar shards as one."""
    pq.write_table(pa.Table.from_pylist(rows[:1]), folder / "eval.parquet")
    if name != "tar_shards":
        pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")
        return folder / "in.parquet"
    conftest.write_tar(folder / "in.tar", [(f"{row['id']}.jpg", row["image"]["bytes"]) for row in rows])
    return folder / "in.tar"


@pytest.mark.spark
@pytest.mark.skipif(conftest.MODE != "classic" or pyspark.__version__.startswith("3."), reason="once is enough")
@pytest.mark.parametrize("name", sorted(one.stem for one in CONF.glob("*.yaml") if one.stem not in MODELS))
def test_a_configuration_does_what_it_says(run, monkeypatch, tmp_path, name):
    rows = picked(monkeypatch)
    data = write(tmp_path, rows, name)
    needs = [str(tmp_path / one) if one in ("seen", "eval.parquet") else one for one in NEEDS.get(name, ())]
    result = run(data, "--config", CONF / f"{name}.yaml", *needs)
    edits = {str(row["id"]): row["edit"] for row in rows}
    dropped = {edits[str(one).rpartition("#")[2]] for one in result.dropped}
    assert dropped == FINDS.get(name, COPIES)
    assert result.summary["rows_with_errors"] == 1
    assert (result.folder / "report.html").exists() == ("report: true" in (CONF / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_configurations_of_models_are_understood(name):
    assert read_options(["--config", str(CONF / f"{name}.yaml"), "--input", "in", "--output", "out"])


def test_the_strict_preset_is_what_near_verified_spells_out():
    spelled = read_options(["--config", str(CONF / "near_verified.yaml"), "--input", "in", "--output", "out"]).dedup
    preset = read_options(["--preset", "strict", "--input", "in", "--output", "out"]).dedup
    assert [(one.spec, one.threshold, one.verify) for one in (spelled, preset)] == [
        (preset.spec, preset.threshold, preset.verify)
    ] * 2


def test_sparks_settings_are_read_as_spark_reads_them(monkeypatch):
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"--properties-file {CONF}/spark-defaults.conf pyspark-shell")
    names = given_settings()
    assert len(names) == 8 and all(one.startswith("spark.") for one in names)
