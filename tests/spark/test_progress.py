"""What is told of a run while it works."""

from __future__ import annotations

import io
import logging
import re
import sys
import time
from types import SimpleNamespace

import conftest
import pytest

from imgdedup_spark.clock import Clock, Running, running
from imgdedup_spark.spark import progress
from imgdedup_spark.spark.progress import Counters, Shown, Tasks, portion, shown


class Counter:
    """An accumulator, without Spark."""

    value = 0

    def add(self, count):
        self.value += count


def test_a_line():
    counters = Counters(Counter(), Counter(), Counter())
    counters(1000, 1000, 0)  # of an earlier stage
    run = Shown(lambda: Tasks(3, 10), counters)
    stage = Running("hash", 100.0)
    assert run.line(stage, 100.0) == "hash: 30%, 3 of 10 tasks, 0:00, about 0:00 left"
    counters(12_300, 24_600, 3)
    run.portion = (0.25, 0.5)
    expected = "hash: 40%, 12,300 rows, 410 images/s, 3 errors, 1:00, about 1:30 left"
    assert run.line(stage, 160.0) == expected
    assert run.line(Running("match", 160.0), 3960.0) == "match: 40%, 3 of 10 tasks, 1:03:20, about 1:35:00 left"
    # Where nobody counts, by the share of tasks, if all rows are known.
    uncounted = Shown(lambda: Tasks(3, 10), None)
    assert uncounted.line(stage, 110.0) == "hash: 30%, 3 of 10 tasks, 0:10, about 0:23 left"
    uncounted.of_rows = 40_000
    assert uncounted.line(stage, 110.0) == "hash: 30%, about 12,000 rows, about 1,200 rows/s, 0:10, about 0:23 left"
    nothing = Shown(lambda: Tasks(0, 0), None)
    assert nothing.line(Running("write", 0.0), 5.0) == "write: 0:05"


def test_the_stage_at_work():
    clock = Clock()
    with clock.stage("outer"):
        with pytest.raises(ZeroDivisionError), clock.stage("inner"):
            assert running().name == "inner"
            raise ZeroDivisionError
        assert running().name == "outer"
    assert running() is None and list(clock.stages) == ["outer"]


@pytest.fixture
def handler():
    """A log as ``logging.basicConfig`` makes it."""
    made, log = logging.StreamHandler(io.StringIO()), logging.getLogger("imgdedup")
    logging.getLogger().addHandler(made)
    level = log.level
    log.setLevel(logging.INFO)
    yield made
    logging.getLogger().removeHandler(made)
    log.setLevel(level)


@pytest.fixture
def fast(monkeypatch):
    for name, value in (("LOOK", 0.02), ("LINE", 0.02), ("_SOON", 0.0)):
        monkeypatch.setattr(progress, name, value)


def work(seconds=0.3):
    with Clock().stage("match"):
        time.sleep(seconds)


def test_a_terminal_a_file_and_quiet(handler, fast, monkeypatch):
    monkeypatch.setattr(progress, "_tasks_of", lambda spark: (lambda: Tasks(1, 4), lambda: None))
    monkeypatch.setattr(progress, "_counters_of", lambda spark: None)
    terminal = io.StringIO()
    # The log goes to the same terminal.
    handler.setStream(terminal)
    with shown(None, stream=terminal):
        work()
    seen = terminal.getvalue()
    assert re.search(r"\r\x1b\[2Kmatch: 25%, 1 of 4 tasks, 0:0\d, about 0:0\d left\r", seen)
    # A line of the log takes the place of the one that changes, which is gone in the end.
    assert re.search(r"\r\x1b\[2Kmatch: \d\.\d s\n", seen) and seen.endswith("\r\x1b[2K")
    handler.setStream(plain := io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # no terminal
    with shown(None):
        work()
    assert plain.getvalue().startswith("match: 25%, 1 of 4 tasks") and "\x1b" not in plain.getvalue()
    handler.setStream(quiet := io.StringIO())
    logging.getLogger("imgdedup").setLevel(logging.WARNING)
    with shown(None, stream=quiet):
        work()
        assert progress.counters() is None
    assert quiet.getvalue() == ""


def test_below_a_cell(fast, monkeypatch):
    """Whatever the level of the log; and nothing where Python runs without a notebook."""
    monkeypatch.setattr(progress, "_tasks_of", lambda spark: (lambda: Tasks(1, 4), lambda: None))
    monkeypatch.setattr(progress, "_counters_of", lambda spark: None)
    seen = []
    handle = SimpleNamespace(update=lambda data, raw: seen.append(data["text/plain"]))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    display = SimpleNamespace(display=lambda data, raw, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with progress.shown_in_notebook(None):
        work()
    assert seen[0].startswith("match: 25%, 1 of 4 tasks") and seen[-1] == ""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    with progress.shown_in_notebook(None):
        assert progress._shown is None


@pytest.mark.spark
def test_tasks_and_counts_are_sparks_own(spark, handler, fast):
    if not hasattr(spark, "registerProgressHandler") and conftest.MODE == "connect":
        pytest.skip("PySpark 3.5 tells nothing through Connect")
    stream = io.StringIO()
    with shown(spark, stream=stream):
        count = progress.counters()
        seconds = 1.2 if conftest.MODE == "connect" else 0.4  # Connect's server tells every two seconds

        def slowly(batches):
            for batch in batches:
                time.sleep(seconds)
                if count is not None:
                    count(batch.num_rows, 2 * batch.num_rows, 1)
                yield batch

        with Clock().stage("hash"), portion(0.5, 0.5):
            spark.range(0, 12, 1, 6).mapInArrow(slowly, "id bigint").write.format("noop").mode("overwrite").save()
            if count is not None:
                assert (count.rows.value, count.images.value, count.errors.value) == (12, 24, 6)
    seen = stream.getvalue()
    assert " of 6 tasks" in seen or " rows, " in seen
    shares = {int(share) for share in re.findall(r"hash: (\d+)%", seen)}
    assert shares & {58, 67, 75, 83, 92}, seen  # some, but not all, of the six tasks of the second half
    assert (count is None) == (conftest.MODE == "connect")
