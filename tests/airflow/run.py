"""The DAG under a real Airflow and Spark: ``make test-airflow``. Not a test of pytest's, for it takes minutes.

python tests/airflow/run.py AIRFLOW (its executable, of an environment of its own), with spark-submit on PATH.

A day by ``airflow dags test``; the same day again, with the same result; a day that the check refuses; then three days
by a backfill, under a scheduler, in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "demo"))
DAG = "imgdedup_daily"
FIRST, BROKEN, DAYS = "2026-10-01", "2026-12-01", ("2026-11-01", "2026-11-02", "2026-11-03")
#: Seconds for the three days of the backfill.
LONGEST = 600


def make_days(data: Path) -> dict[str, list[str]]:
    """Day → ids of the rows that it has to keep: pictures that no day before it has."""
    import make_data

    make_data.PHOTOGRAPHS, make_data.CROPS = ["astronaut", "coffee", "rocket", "camera", "coins", "moon"], 1
    pictures = [row["image"]["bytes"] for row in make_data.rows() if row["edit"] == "original"]
    a, b, c, d, e, f = pictures
    days = {FIRST: [a, b, a], BROKEN: [c, b"\xff\xd8 no picture"], DAYS[0]: [a, c, d], DAYS[1]: [d, e, e]}
    days[DAYS[2]] = [e, d, f]
    for day, rows in days.items():
        folder = data / "crawl" / day
        folder.mkdir(parents=True)
        ids = [f"{day}/{number}" for number in range(len(rows))]
        pq.write_table(pa.table({"id": ids, "image": rows}), folder / "part.parquet")
    # What the refused day has kept is in the index: it ran, and the check came after it.
    return {FIRST: ["0", "1"], BROKEN: ["0", "1"], DAYS[0]: ["2"], DAYS[1]: ["1"], DAYS[2]: ["2"]}


class Airflow:
    """An Airflow of its own in a folder, with the DAG of ``conf/airflow``."""

    def __init__(self, program: str, home: Path, data: Path) -> None:
        self.program, self.home = program, home
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            # SQLite, where who finds it locked waits.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=120",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "conf" / "airflow"),
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
            "AIRFLOW_VAR_IMGDEDUP_HOME": str(ROOT),
            "AIRFLOW_VAR_IMGDEDUP_DATA": str(data),
            # The provider brings pyspark-client, which has no spark-submit.
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            "PATH": f"{Path(sys.executable).parent}:{Path(program).parent}:{os.environ['PATH']}",
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
        }

    def __call__(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """What Airflow's own database says."""
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as base:
            return base.execute(query).fetchall()

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[], bool]]:
        """Scheduler, web server and what parses DAGs; gives what tells whether they still run."""
        with (self.home / "standalone.log").open("w") as log:
            started = subprocess.Popen(
                [self.program, "standalone"], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield lambda: started.poll() is None
        finally:
            # Its parts have process groups of their own.
            for _ in range(2):
                for one in _of_session(started.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one, signal.SIGTERM)
                time.sleep(2)
            started.wait(60)


def _of_session(session: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,sess="], stdout=subprocess.PIPE, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, one in pairs if int(one) == session]


def result(data: Path, day: str) -> tuple[list[str], list[Any]]:
    """Ids kept, and the duplicates' table."""
    kept = pq.read_table(data / "clean" / day / "kept")["id"].to_pylist()
    return [one.rpartition("/")[2] for one in kept], pq.read_table(data / "clean" / day / "duplicates").to_pylist()


def one_day(airflow: Airflow, data: Path, expected: dict[str, list[str]]) -> None:
    before = None
    for _ in range(2):
        status, text = airflow("dags", "test", DAG, FIRST)
        assert status == 0 and "state=success" in text.replace("'", ""), text[-4000:]
        found = result(data, FIRST)
        assert found[0] == expected[FIRST] and before in (None, found), (found, before)
        before = found
    runs = [json.loads(one.read_text()) for one in sorted((data / "seen" / "manifests").glob("*.json"))]
    assert [one["rows"] for one in runs[-1]["runs"]] == [2], runs[-1]
    print("one day, and again: the same", flush=True)
    status, text = airflow("dags", "test", DAG, BROKEN)
    assert "1 of 2 rows have unreadable images" in text and "state=failed" in text.replace("'", ""), text[-4000:]
    print(f"a day of unreadable pictures: refused by the check (exit status {status})", flush=True)


def backfill(airflow: Airflow, data: Path, expected: dict[str, list[str]]) -> None:
    with airflow.running() as alive:
        until = time.monotonic() + LONGEST
        while not airflow_knows(airflow):
            assert alive() and time.monotonic() < until, "the DAG was not parsed"
            time.sleep(3)
        airflow("dags", "unpause", DAG)
        # Airflow wants to be told so for tasks that depend on the day before.
        again = ("--reprocess-behavior", "completed")
        dates = ("--from-date", DAYS[0], "--to-date", DAYS[-1])
        status, text = airflow("backfill", "create", "--dag-id", DAG, *dates, *again)
        assert status == 0, text[-4000:]
        query = f"select state from dag_run where dag_id = '{DAG}' and run_type = 'backfill'"
        while (states := [one[0] for one in airflow.ask(query)]) != ["success"] * len(DAYS):
            assert alive() and time.monotonic() < until and "failed" not in states, states
            time.sleep(3)
    check_days(airflow, data, expected)


def check_days(airflow: Airflow, data: Path, expected: dict[str, list[str]]) -> None:
    """What the backfill has left: of the job, and in Airflow."""
    query = "select run_id from task_instance where task_id = 'dedup' and run_id like 'backfill%' order by start_date"
    order = [one[0] for one in airflow.ask(query)]
    assert len(order) == len(DAYS) and order == sorted(order), order
    for day in DAYS:
        assert result(data, day)[0] == expected[day], (day, result(data, day))
    assert [row["reason"] for row in result(data, DAYS[2])[1]] == ["in_index", "in_index"], result(data, DAYS[2])
    values = airflow.ask("select key, value from xcom where run_id like 'backfill%' order by run_id, key")
    links = [value for key, value in values if key == "_link_ReportLink"]
    counts = [value for key, value in values if key == "return_value" and "rows_kept" in str(value)]
    assert len(counts) == len(DAYS), values
    assert all(f"clean/{day}/report.html" in link for day, link in zip(DAYS, links, strict=True)), links
    print(f"three days in order: kept {[result(data, day)[0] for day in DAYS]}; {counts[-1]}; {links[-1]}", flush=True)


def airflow_knows(airflow: Airflow) -> bool:
    with contextlib.suppress(sqlite3.Error):
        return bool(airflow.ask(f"select 1 from dag where dag_id = '{DAG}'"))
    return False


def main(program: str) -> None:
    with tempfile.TemporaryDirectory(prefix="imgdedup-airflow-") as folder:
        data = Path(folder) / "data"
        expected = make_days(data)
        airflow = Airflow(program, Path(folder) / "home", data)
        status, text = airflow("db", "migrate")
        assert status == 0, text[-4000:]
        one_day(airflow, data, expected)
        try:
            backfill(airflow, data, expected)
        except BaseException:
            print((airflow.home / "standalone.log").read_text("utf-8")[-6000:])
            raise


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).absolute()))
