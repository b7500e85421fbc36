"""How far a run is, while it works: a line that changes in a terminal or notebook, and one a minute elsewhere.

Spark tells of tasks, on classic sessions by its status tracker, through Connect by the progress of an execution. On
classic sessions the workers count rows, images and errors as well, in accumulators, which come as tasks end. Connect
has none: there rows are told by the share of tasks, where it is known how many there are.
"""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from imgdedup_spark.clock import Running, running
from imgdedup_spark.logs import before_each_line

log = logging.getLogger("imgdedup")
#: Seconds between two looks in a terminal, and between two lines elsewhere.
LOOK, LINE = 0.5, 60.0
#: Seconds of a stage before anything is told of it, and the least share from which the rest is estimated.
_SOON, _LEAST_SHARE = 2.0, 0.02
_CLEAR = "\r\x1b[2K"


class Tasks(NamedTuple):
    """Of what Spark is at now."""

    done: int
    all: int


@dataclass(frozen=True)
class Counters:
    """What workers count, in Spark's accumulators."""

    rows: Any
    images: Any
    errors: Any

    def __call__(self, rows: int, images: int, errors: int) -> None:
        for counter, count in ((self.rows, rows), (self.images, images), (self.errors, errors)):
            counter.add(count)


class Shown:
    """What is known of a run that is shown."""

    def __init__(self, tasks: Callable[[], Tasks], counters: Counters | None) -> None:
        self.tasks, self.counters = tasks, counters
        self.portion = (0.0, 1.0)  # share of the stage that is done, and that Spark is at
        self.of_rows = 0  # of the stage, where they are known
        self._stage: Running | None = None
        self._before = (0, 0, 0)

    def line(self, stage: Running, now: float) -> str:
        """``hash: 43%, 12,300 rows, 310 images/s, 3 errors, 0:41, about 0:54 left``"""
        if stage != self._stage:
            self._stage, self._before = stage, self._counted()
        seconds = now - stage.started
        tasks = self.tasks()
        done, here = self.portion
        share = done + here * (tasks.done / tasks.all if tasks.all else 0)
        rows, images, errors = (a - b for a, b in zip(self._counted(), self._before, strict=True))
        parts = [f"{share:.0%}"] if share else []
        about = round(share * self.of_rows) if self.counters is None and seconds else 0  # nobody counts
        if about:
            parts += [f"about {about:,} rows", f"about {about / seconds:,.0f} rows/s"]
        else:
            parts += [f"{rows:,} rows"] if rows else [f"{tasks.done} of {tasks.all} tasks"] if tasks.all else []
        parts += [f"{images / seconds:,.0f} images/s"] if images and seconds else []
        parts += [f"{errors:,} errors"] if errors else []
        parts.append(_clock(seconds))
        parts += [f"about {_clock(seconds * (1 - share) / share)} left"] if share > _LEAST_SHARE else []
        return f"{stage.name}: {', '.join(parts)}"

    def _counted(self) -> tuple[int, int, int]:
        if self.counters is None:
            return 0, 0, 0
        return self.counters.rows.value, self.counters.images.value, self.counters.errors.value


#: What is shown in this process now.
_shown: Shown | None = None


def counters() -> Counters | None:
    """What workers are to count with; None where nothing is shown of it."""
    return _shown.counters if _shown is not None else None


@contextmanager
def portion(done: float, here: float, of_rows: int = 0) -> Iterator[None]:
    """A stage works in portions, and the body does one of them.

    Args:
        done: share of the stage that was done before.
        here: share that this portion is.
        of_rows: of the stage; 0 where that is not known.
    """
    if _shown is not None:
        _shown.portion, _shown.of_rows = (done, here), of_rows
    try:
        yield
    finally:
        if _shown is not None:
            _shown.portion, _shown.of_rows = (0.0, 1.0), 0


class Cell:
    """A line below a notebook's cell."""

    def __init__(self, display: Callable[..., Any]) -> None:
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        self._handle.update({"text/plain": text.removeprefix(_CLEAR)}, raw=True)

    def flush(self) -> None:
        """Each line is shown at once."""


def shown_in_notebook(spark: SparkSession) -> AbstractContextManager[None]:
    """Shows how far the body is below the cell that it runs in; nothing where there is none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return nullcontext()
    from IPython.display import display

    return shown(spark, cell=Cell(display))


@contextmanager
def shown(
    spark: SparkSession, *, plain: bool = False, stream: TextIO | None = None, cell: Cell | None = None
) -> Iterator[None]:
    """Shows how far the body is, if the log tells news at all or a ``cell`` is given.

    Args:
        plain: only by lines of the log.
        stream: where a line that changes is written; None: stderr, if that is a terminal.
    """
    global _shown
    terminal = sys.stderr if sys.stderr.isatty() and not plain else None
    live: TextIO | Cell | None = cell or stream or terminal
    if cell is None and not log.isEnabledFor(logging.INFO):
        yield
        return
    tasks, close = _tasks_of(spark)
    _shown = Shown(tasks, _counters_of(spark))
    ended = threading.Event()
    look = threading.Thread(target=_watch, args=(_shown, ended, live), daemon=True)
    clear = before_each_line(lambda: _write(live, _CLEAR)) if live is not None and cell is None else None
    look.start()
    try:
        yield
    finally:
        ended.set()
        look.join(5)
        _shown = None
        close()
        if clear is not None:
            clear()
        if live is not None:
            _write(live, _CLEAR)


def _watch(run: Shown, ended: threading.Event, stream: TextIO | Cell | None) -> None:
    while not ended.wait(LOOK if stream else LINE):
        stage = running()
        now = time.perf_counter()
        if stage is None or now - stage.started < _SOON:
            continue
        with suppress(Exception):  # a session that is stopped, or a platform that does not tell
            line = run.line(stage, now)
            if ended.is_set():
                return
            if stream is None:
                log.info("%s", line, extra={"facts": {"stage": stage.name}})
            else:
                # A line that wraps could not be cleared.
                _write(stream, _CLEAR + line[: shutil.get_terminal_size().columns - 1])


def _write(stream: TextIO | Cell, text: str) -> None:
    with suppress(Exception):  # closed, or a kernel that has gone
        stream.write(text)
        stream.flush()


def _tasks_of(spark: SparkSession) -> tuple[Callable[[], Tasks], Callable[[], None]]:
    """What tells of tasks, and what ends that."""
    if not is_remote():

        def of_tracker() -> Tasks:
            tracker = spark.sparkContext.statusTracker()
            stages = [tracker.getStageInfo(one) for one in tracker.getActiveStageIds()]
            return _sum((one.numCompletedTasks, one.numTasks) for one in stages if one is not None)

        return of_tracker, lambda: None
    last = Tasks(0, 0)

    def heard(stages: Any, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
        nonlocal last
        last = Tasks(0, 0) if done else _sum((one.num_completed_tasks, one.num_tasks) for one in stages)

    if not hasattr(spark, "registerProgressHandler"):  # PySpark 3.5
        return lambda: last, lambda: None
    spark.registerProgressHandler(heard)
    return lambda: last, lambda: spark.removeProgressHandler(heard)


def _sum(pairs: Iterator[tuple[int, int]] | Any) -> Tasks:
    done, every = zip(*pairs, strict=True) if (pairs := list(pairs)) else ((), ())
    return Tasks(sum(done), sum(every))


def _counters_of(spark: SparkSession) -> Counters | None:
    if is_remote():
        return None
    try:
        return Counters(*(spark.sparkContext.accumulator(0) for _ in range(3)))
    except Exception:  # platforms that let nobody at the context
        return None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
