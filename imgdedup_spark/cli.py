"""The command line: ``imgdedup`` and ``spark-submit jobs/dedup.py``. Turns trouble into an exit status and a line."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.logs import error_line, log, set_logs, start_logs

if TYPE_CHECKING:
    from imgdedup_spark.config.job import JobConfig


OK, USER_ERROR, JOB_FAILED = 0, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the job or a command; returns the exit status: 0 done, 2 wrong options or input, 3 it ran and failed, 4
    leaks were found (``leaks --fail-on-leak``)."""
    return _main(_run, arguments)


def fingerprint_main(arguments: Sequence[str] | None = None) -> int:
    """The same for ``imgdedup-fingerprint``, which makes an index without deduplicating."""
    return _main(_run_fingerprint, arguments)


def task_main() -> None:
    """``main`` for platforms that call an entry point and look at no exit status (Databricks' wheel tasks).

    Raises:
        SystemExit: of a status other than 0, so that the task fails.
    """
    if status := main():
        sys.exit(status)


def _main(run: Callable[[Sequence[str]], int], arguments: Sequence[str] | None) -> int:
    start_logs()
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        return _fail(USER_ERROR, str(error))
    except JobError as error:
        return _fail(JOB_FAILED, str(error))
    except KeyboardInterrupt:
        return _fail(JOB_FAILED, "interrupted")
    except Exception as error:
        from imgdedup_spark.causes import failure

        return _fail(JOB_FAILED, failure(error))


def _run(arguments: Sequence[str]) -> int:
    from imgdedup_spark.config.command_line import COMMANDS, read_options

    if arguments and arguments[0] in COMMANDS:
        command = importlib.import_module(f"imgdedup_spark.commands.{arguments[0]}")
        return int(command.run(arguments[1:], _working))
    config = read_options(arguments)
    with _working(config) as spark:
        from imgdedup_spark.job import run
        from imgdedup_spark.spark.progress import shown

        with shown(spark, plain=config.log_format == "json"):
            summary = run(spark, config)
        if config.metrics is not None:
            from imgdedup_spark.files import storage
            from imgdedup_spark.report.metrics import metrics_text

            storage.write_text(config.metrics, metrics_text(summary, config.output, time.time()))
    kept, dropped = summary["rows_kept"], summary["rows_dropped"]
    log.info(
        "%s rows in, %s kept, %s dropped as duplicates in %s groups, %s with unreadable images; see %s",
        *(
            f"{count:,}"
            for count in (summary["rows_in"], kept, dropped, summary["groups"], summary["rows_with_errors"])
        ),
        config.output,
    )
    return OK


@contextlib.contextmanager
def _working(config: JobConfig) -> Iterator[Any]:
    """The session, the logs as the options say, and what goes wrong in one line."""
    set_logs(config.log_format, config.run_id, quiet=config.quiet)
    with _session(config) as spark, _in_one_line(config):
        yield spark


def _run_fingerprint(arguments: Sequence[str]) -> int:
    from imgdedup_spark.config.command_line import read_options

    config = read_options(arguments, fingerprint=True)
    with _working(config) as spark:
        from imgdedup_spark.job import run_fingerprint
        from imgdedup_spark.spark.progress import shown

        with shown(spark, plain=config.log_format == "json"):
            done = run_fingerprint(spark, config)
    log.info("%s rows in, %s added to %s", f"{done['rows_in']:,}", f"{done['rows_added']:,}", config.index)
    return OK


def _load_libraries() -> None:
    """Loads libraries that PySpark and the job share, while the JVM starts.

    Only packages that import neither PySpark nor this one: two threads that import the same circle of modules from two
    ends break each other's imports. Nor does PySpark go on before they are loaded; for pandas it waits where it asks.
    """
    for name in ("pyarrow.parquet", "pyarrow.compute", "pyarrow.fs", "PIL.Image"):
        importlib.import_module(name)


def _load_pandas() -> None:
    """Loads what takes longest to load: PySpark asks whether it is there, by loading it."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pandas")


@contextlib.contextmanager
def _session(config: JobConfig) -> Iterator[Any]:
    """Spark; stopped at the end if it was started here."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            # Only now, so that a wrong option is answered at once and --help needs no Spark.
            from imgdedup_spark.spark.session import prepare_next, start_session, stop_session, warming

            libraries, _ = pool.submit(_load_libraries), pool.submit(_load_pandas)
            reads, warm = config.dedup.reads_images, []
            preload = _of_workers(config) if reads else ()
            spark, ours = start_session(light=reads, preload=preload, loaded=libraries.result)
            if ours:
                # PySpark's own handler asks the JVM to cancel the jobs, in the middle of what it was being asked.
                with contextlib.suppress(ValueError):  # not in the main thread
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                # In workers only runs of millions of rows search, which can wait for a second. Of ready hashes in
                # Parquet, as which a folder passes, the driver or the JVM makes prints; workers read other files.
                is_parquet = all(PurePath(one).suffix in ("", ".parquet") for one in config.input)
                if not is_parquet or any(not step.hash_col for step in config.dedup.steps):
                    warm.append(pool.submit(warming(spark, _load_for_workers)))
            # All that the job will import, before another thread imports some of it beside the job.
            importlib.import_module("imgdedup_spark.job")
        except ModuleNotFoundError as error:
            raise UserError(
                f"a package is missing ({error.name}); pip install imgdedup-spark brings all of them"
            ) from None
        if not ours:
            yield spark
            return
        try:
            yield spark
            # Spark would log a job that is still at work when it is stopped as an error.
            wait(warm)
            master = str(spark.conf.get("spark.master", ""))
        finally:
            stop_session(spark)
        prepare_next(master)


def _of_workers(config: JobConfig) -> list[str]:
    """What workers load who look at pictures, as ``worker_daemon.PRELOAD`` has it."""
    families = {spec.about.family for step in config.dedup.steps if not step.is_embedding for spec in step.specs}
    kernels = sorted(f"imgdedup_spark.kernels.hashes.{name}" for name in families)
    return [
        "imgdedup_spark.hash.worker",
        "imgdedup_spark.hash.isolated",
        "imgdedup_spark.read.folders",
        *kernels,
        "imgdedup_spark.kernels.pictures.trouble:formats",
        "pyspark.files",
        "pyspark.worker",
    ]


def _load_for_workers() -> None:
    """Loads what takes long to load and any worker needs."""
    importlib.import_module("imgdedup_spark.hash.worker")


@contextlib.contextmanager
def _in_one_line(config: JobConfig) -> Iterator[None]:
    """Raises:
    JobError: in the place of whatever Spark, a worker or a library has raised.
    """
    from imgdedup_spark.causes import failure

    try:
        yield
    except (UserError, JobError):
        raise
    except Exception as error:
        folders = [config.output, config.index, os.environ.get("SPARK_LOCAL_DIRS"), tempfile.gettempdir()]
        raise JobError(failure(error, [one for one in folders if one])) from None


def _fail(status: int, message: str) -> int:
    line = error_line(message)
    try:
        from imgdedup_spark.spark.session import print_error
    except ImportError:
        print(line, file=sys.stderr)
    else:
        print_error(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
