"""What the DAG's check says of a day, and its link; Airflow itself is run by run.py, and stands here as a stub."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from imgdedup_spark.config.command_line import read_options

ROOT = Path(__file__).parents[2]
SUMMARY = {"run_id": "2026-11-25", "rows_in": 100, "rows_kept": 90, "rows_dropped": 8, "rows_dropped_on_error": 2}
SUMMARY |= {"rows_with_errors": 2, "passed_over": {}}
LIMITS = {"least_rows": 1, "most_unreadable": 0.02, "most_dropped": 0.95, "most_passed_over": 0}


class Operator:
    made: list[dict] = []  # noqa: RUF012 - of one test

    def __init__(self, **given):
        self.made.append(given)

    def __rshift__(self, other):
        return other


@pytest.fixture
def dag(monkeypatch):
    """The DAG's file, with what it takes from Airflow."""
    Operator.made.clear()
    sdk = {
        "dag": lambda **given: lambda body: body,
        "task": lambda **given: lambda body: lambda *arguments: None,
        "Param": lambda value, **given: value,
        "BaseOperatorLink": object,
        "ObjectStoragePath": Path,
    }
    parts = {
        "airflow.sdk": sdk,
        "airflow.sdk.exceptions": {"AirflowFailException": Exception},
        "airflow.providers.apache.spark.operators.spark_submit": {"SparkSubmitOperator": Operator},
    }
    packages = {name.rsplit(".", end)[0] for name in parts for end in range(1, name.count(".") + 1)}
    for name in packages | set(parts):
        made = ModuleType(name)
        vars(made).update(parts.get(name, {}))
        monkeypatch.setitem(sys.modules, name, made)
    return runpy.run_path(str(ROOT / "conf" / "airflow" / "dedup_dag.py"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"run_id": "2026-11-24"}, ["it is the summary of 2026-11-24"]),
        ({"rows_kept": 89}, ["100 rows in are not 89 kept and 10 dropped"]),
        ({"rows_in": 0, "rows_kept": 0, "rows_dropped": 0, "rows_dropped_on_error": 0, "rows_with_errors": 0},
         ["0 rows in, fewer than 1"]),
        ({"rows_with_errors": 3}, ["3 of 100 rows have unreadable images"]),
        ({"rows_kept": 4, "rows_dropped": 94}, ["96 of 100 rows were dropped"]),
        ({"passed_over": {"other_format": {"count": 2}}}, ["2 things in the input were passed over"]),
    ],
)  # fmt: skip
def test_a_day(dag, changed, said):
    assert dag["faults"](SUMMARY | changed, "2026-11-25", LIMITS) == said


def test_the_job_and_its_report(dag):
    [given] = Operator.made
    filled = [one.replace("{{ ds }}", "2026-11-25") for one in given["application_args"]]
    filled = [one.replace("{{ var.value.imgdedup_home }}", str(ROOT)) for one in filled]
    filled = [one.replace("{{ var.value.imgdedup_data }}", "s3://lake") for one in filled]
    config = read_options(filled)
    assert (config.run_id, config.index) == ("2026-11-25", "s3://lake/seen")
    assert config.input == ("s3://lake/crawl/2026-11-25",) and config.report
    assert config.dedup.threshold == yaml.safe_load((ROOT / "conf" / "daily_index.yaml").read_text())["threshold"]
    link = dag["ReportLink"]().get_link(SimpleNamespace(application_args=filled), ti_key=None)
    assert link == "s3://lake/clean/2026-11-25/report.html"
    local = SimpleNamespace(application_args=["--output", "/data/clean/a b"])
    assert dag["ReportLink"]().get_link(local, ti_key=None) == "file:///data/clean/a%20b/report.html"
