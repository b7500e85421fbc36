"""``conf/databricks``: what the bundle names is there and is understood. ``check_bundle.py`` holds it against
Databricks' own models of jobs."""

from __future__ import annotations

import base64
import hashlib
import re
import runpy
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from imgdedup_spark import cli
from imgdedup_spark.config.command_line import read_options

CONF = Path(__file__).parents[2] / "conf" / "databricks"
PROJECT = (CONF.parents[1] / "pyproject.toml").read_text("utf-8")
BUNDLE = yaml.safe_load((CONF / "databricks.yml").read_text("utf-8"))
JOBS = BUNDLE["resources"]["jobs"]


def filled(text: str) -> str:
    """With the variables' defaults in their places."""
    while found := re.search(r"\$\{var\.(\w+)\}", text):
        text = text.replace(found[0], BUNDLE["variables"][found[1]]["default"])
    return text


def test_the_wheels_task():
    [task] = JOBS["imgdedup_files"]["tasks"]
    wheel = task["python_wheel_task"]
    assert f'{wheel["entry_point"]} = "imgdedup_spark.cli:task_main"' in PROJECT
    config = read_options([filled(one).replace("{{job.parameters.day}}", "2026-11-25") for one in wheel["parameters"]])
    assert config.output == "/Volumes/main/default/imgdedup/clean/2026-11-25" and config.run_id == "2026-11-25"
    # Both jobs have the environment that their task names.
    for job in JOBS.values():
        assert job["tasks"][0]["environment_key"] == job["environments"][0]["environment_key"]
    version = re.search(r'^version = "(.*)"', PROJECT, re.MULTILINE)
    assert version and filled("${var.wheel}").endswith(f"imgdedup_spark-{version[1]}-py3-none-any.whl")


def test_a_failed_job_is_a_failed_task(monkeypatch):
    monkeypatch.setattr(cli, "main", lambda: 0)
    assert cli.task_main() is None
    monkeypatch.setattr(cli, "main", lambda: 3)
    with pytest.raises(SystemExit, match="3"):
        cli.task_main()


def test_a_wheel_without_pyspark(tmp_path):
    metadata = (
        b"Name: x\nRequires-Dist: pyspark<5,>=3.5\nRequires-Dist: numpy\nRequires-Dist: pyspark[connect]; extra\n"
    )
    with zipfile.ZipFile(tmp_path / "x-1.whl", "w") as made:
        made.writestr("x/__init__.py", "")
        made.writestr("x-1.dist-info/METADATA", metadata)
        made.writestr("x-1.dist-info/RECORD", "x/__init__.py,,0\nx-1.dist-info/METADATA,sha256=old,1\n")
    [made] = (runpy.run_path(str(CONF / "wheel.py"))["without_pyspark"](tmp_path / "x-1.whl", tmp_path / "new"),)
    with zipfile.ZipFile(made) as wheel:
        text = wheel.read("x-1.dist-info/METADATA")
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")
        assert text == b"Name: x\nRequires-Dist: numpy\n"
        assert f"x-1.dist-info/METADATA,sha256={digest},{len(text)}\n" in wheel.read("x-1.dist-info/RECORD").decode()


@pytest.mark.spark
@pytest.mark.long
def test_the_notebook_of_tables(spark, photos, tmp_path, monkeypatch, capsys):
    """As the platform runs it: ``spark`` and ``dbutils`` are there."""
    monkeypatch.chdir(tmp_path)
    rows = [(number, photos[letter]) for number, letter in enumerate("ABCABC")]
    spark.createDataFrame(rows, "id int, image binary").createOrReplaceTempView("pictures")
    parameters: dict[str, Any] = dict(JOBS["imgdedup_table"]["tasks"][0]["notebook_task"]["base_parameters"])
    parameters |= {"input_table": "pictures", "output_table": "clean", "duplicates_table": "gone"}
    parameters["staging"] = str(tmp_path / "staging")
    widgets = SimpleNamespace(
        text=lambda name, default: parameters.setdefault(name, default), get=parameters.__getitem__
    )
    try:
        for _ in range(2):
            named = runpy.run_path(
                str(CONF / "dedup_table.py"), {"spark": spark, "dbutils": SimpleNamespace(widgets=widgets)}
            )
            assert named["counts"]["rows_kept"] == spark.table("clean").count() == 3
            assert sorted(row.id for row in spark.table("gone").collect()) == [3, 4, 5]
    finally:
        for name in ("clean", "gone"):
            spark.sql(f"drop table if exists {name}")
    assert not (tmp_path / "staging").exists() and "'rows_dropped': 3" in capsys.readouterr().out
