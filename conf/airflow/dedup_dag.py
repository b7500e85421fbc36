"""A day of pictures at a time, compared with all days before: Airflow 3 with its Apache Spark provider.

Airflow's variables: ``imgdedup_home``, where ``jobs/`` and ``conf/`` lie; ``imgdedup_data``, the folder or bucket with
``crawl/<day>``, where ``clean/<day>`` and the index ``seen`` are written. docs/airflow.md has the rest.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseOperatorLink, ObjectStoragePath, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

DATA = "{{ var.value.imgdedup_data }}"
HOME = "{{ var.value.imgdedup_home }}"
OUTPUT = f"{DATA}/clean/{{{{ ds }}}}"


class ReportLink(BaseOperatorLink):
    """A button in Airflow's pages that opens the day's report."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        output = operator.application_args[operator.application_args.index("--output") + 1]
        report = f"{output}/report.html"
        return report if "://" in report else Path(report).absolute().as_uri()


class DedupOperator(SparkSubmitOperator):
    operator_extra_links = (ReportLink(),)


def faults(summary: dict[str, Any], day: str, limits: dict[str, Any]) -> list[str]:
    """What is wrong with a day's summary.json; nothing if the day is as days are."""
    rows, unreadable = summary["rows_in"], summary["rows_with_errors"]
    gone = summary["rows_dropped"] + summary["rows_dropped_on_error"]
    passed_over = sum(one["count"] for one in summary.get("passed_over", {}).values())
    found = {
        f"it is the summary of {summary.get('run_id')}": summary.get("run_id") != day,
        f"{rows:,} rows in are not {summary['rows_kept']:,} kept and {gone:,} dropped": rows
        != summary["rows_kept"] + gone,
        f"{rows:,} rows in, fewer than {limits['least_rows']:,}": rows < limits["least_rows"],
        f"{unreadable:,} of {rows:,} rows have unreadable images": unreadable > limits["most_unreadable"] * rows,
        f"{gone:,} of {rows:,} rows were dropped": gone > limits["most_dropped"] * rows,
        f"{passed_over:,} things in the input were passed over": passed_over > limits["most_passed_over"],
    }
    return [text for text, wrong in found.items() if wrong]


@dag(
    dag_id="imgdedup_daily",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # One day after another: what a day keeps depends on the days before, and an index takes one run at a time.
    max_active_runs=1,
    # The same day again replaces itself, so that trying again is safe.
    default_args={"depends_on_past": True, "retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "least_rows": Param(1, type="integer", description="a day of fewer rows fails"),
        "most_unreadable": Param(0.01, type="number", description="share of rows with unreadable images"),
        "most_dropped": Param(0.95, type="number", description="share of rows dropped"),
        "most_passed_over": Param(0, type="integer", description="things in the input that are no rows"),
    },
    doc_md=__doc__,
)
def imgdedup_daily() -> None:
    dedup = DedupOperator(
        task_id="dedup",
        name="imgdedup {{ ds }}",
        application=f"{HOME}/jobs/dedup.py",
        # On a cluster: py_files="…/imgdedup_spark.zip", properties_file=f"{HOME}/conf/spark-defaults.conf".
        application_args=[
            *("--config", f"{HOME}/conf/daily_index.yaml"),
            *("--input", f"{DATA}/crawl/{{{{ ds }}}}"),
            *("--output", OUTPUT),
            *("--index", f"{DATA}/seen"),
            "--index-single-writer",  # one day at a time (max_active_runs)
            *("--run-id", "{{ ds }}"),
        ],
    )

    @task(retries=0)
    def check(output: str, day: str, params: dict[str, Any]) -> dict[str, Any]:
        """The day's counts, for the tasks that come after it (XCom).

        Raises:
            AirflowFailException: the day is not as days are.
        """
        summary = json.loads((ObjectStoragePath(output) / "summary.json").read_text())
        if found := faults(summary, day, params):
            raise AirflowFailException("; ".join(found))
        return {name: summary[name] for name in ("run_id", "rows_in", "rows_kept", "rows_dropped", "rows_with_errors")}

    dedup >> check(OUTPUT, "{{ ds }}")


imgdedup_daily()
