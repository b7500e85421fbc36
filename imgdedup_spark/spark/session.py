"""The Spark session: started when none is given, and set up for pictures while they are read."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyspark.errors import utils
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

import imgdedup_spark
from imgdedup_spark.spark import worker_daemon
from imgdedup_spark.spark.class_archive import MAKING, archive_flags, make_later, unproved_flags
from imgdedup_spark.spark.early_daemon import EARLY, start_early
from imgdedup_spark.spark.given import given_local, given_settings, given_to_java, gives_log, quiet_submitted
from imgdedup_spark.spark.settings import parallelism

#: For a JVM that leaves the work to Python: its own code is compiled quickly (C1) and never again (C2). The second
#: compiler takes half the JVM's processor time in a run of minutes, from the cores that decode pictures. Without it
#: compiled code gets 48 MB, a fifth of what it has otherwise, and a long session throws it out again and again.
_LIGHT_JVM = ("-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=240m")
#: Settings by which a user's workers begin as they say.
_OF_WORKERS = (
    "spark.executorEnv.", "spark.pyspark.python", "spark.python.daemon.", "spark.python.use.daemon", "spark.task.cpus"
)  # fmt: skip
_LOG = Path(__file__).with_name("log4j2.properties")
_NAME = "imgdedup"
#: With each call of a function of columns PySpark 4 asks the JVM ten questions, to name the caller's line in an error.
#: The callers here are this package, whose errors are one line.
NO_CALL_SITES = {"spark.python.sql.dataFrameDebugging.enabled": "false"}


def start_session(
    *, light: bool = False, preload: Sequence[str] = (), loaded: Callable[[], object] = lambda: None
) -> tuple[SparkSession, bool]:
    """The session to use, and whether this call started it (only then is it ours to stop).

    Args:
        light: a JVM that is started here will have little to compute.
        preload: what the workers of a local session will need (``worker_daemon.PRELOAD``).
        loaded: waits for what another thread imports; called when Java is there, and before PySpark imports more.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return active, False
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        loaded()
        # The platform's own, also where no cell has asked for it yet.
        return SparkSession.builder.getOrCreate(), False
    # Without it PySpark starts workers with `python3` from PATH, which in a virtual environment is another
    # Python without this package. A cluster's own setting wins.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if _launched_by_spark_submit():
        settings = _for_submitted(preload)
    else:
        # What the user has set comes after it, and wins.
        os.environ["SPARK_SUBMIT_OPTS"] = " ".join(
            [*java_flags(light), os.environ.get("SPARK_SUBMIT_OPTS", "")]
        ).strip()
        settings = {"spark.app.name": _NAME, "spark.ui.showConsoleProgress": "false"}
        if "SPARK_REMOTE" not in os.environ:
            settings |= NO_CALL_SITES
            # PySpark's own default of 1 GiB leaves little beside a broadcast of some million hashes.
            settings["spark.driver.memory"] = os.environ.get("SPARK_DRIVER_MEMORY", "4g")
            if given_local():
                settings |= _own_daemon(preload, given_settings())
        settings = {name: value for name, value in settings.items() if name not in given_settings()}
        if "SPARK_REMOTE" not in os.environ:
            with contextlib.suppress(ImportError):  # a client alone has no Java, and says so below
                from pyspark import SparkConf, SparkContext

                SparkContext._ensure_initialized(conf=SparkConf(loadDefaults=False).setAll(list(settings.items())))
    loaded()
    builder = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    if not is_remote():
        look_up_once()
    return spark, True


def java_flags(light: bool) -> list[str]:
    """What a JVM that is started here is told, before what the user tells it."""
    flags = [*_LIGHT_JVM] if light else []
    if not gives_log() and _LOG.is_file():
        flags.append(f"-Dlog4j2.configurationFile={_LOG.as_uri()}")
    if "SPARK_REMOTE" not in os.environ:
        flags += archive_flags(given_to_java()) or unproved_flags()
    return flags


def _own_daemon(preload: Sequence[str], given: Collection[str]) -> dict[str, str]:
    """Settings for a daemon that loads what workers will need, started here and now; none where workers may not find
    this package as this process does: in an archive that they are sent once they are there, or beside the program.

    Elsewhere than on Linux a process that has loaded much is not safely forked.

    Args:
        given: names of the user's settings. Of the workers' environment none may be among them: what a process is told
            as it begins comes too late for one that is there.
    """
    if any(name.startswith(_OF_WORKERS) for name in given):
        return {}
    home = Path(imgdedup_spark.__path__[0]).parent
    beside = sys.path[:1] == [str(home)] and _launched_by_spark_submit()
    own = os.environ["PYSPARK_PYTHON"] == sys.executable and sys.platform == "linux"
    if not preload or not own or beside or hasattr(imgdedup_spark.__loader__, "archive"):
        return {}
    variables = {worker_daemon.PRELOAD: ",".join(preload)}
    with contextlib.suppress(OSError):  # Spark starts one in its own time
        variables[EARLY] = start_early(worker_daemon.MODULE, variables)
    told = {f"spark.executorEnv.{name}": value for name, value in variables.items()}
    return {"spark.python.daemon.module": worker_daemon.MODULE, **told}


def look_up_once() -> None:
    """Has PySpark find a class that it names without its package once. It asks for it with each list of columns, and
    Java then looks through all jars for it in one package after another: some milliseconds each time."""
    from pyspark import SparkContext

    with contextlib.suppress(Exception):  # of a platform that allows none of it
        SparkContext._jvm.PythonUtils = SparkContext._jvm.PythonUtils


def stop_session(spark: SparkSession) -> None:
    """Stops a session that was started here.

    PySpark waits up to a second for its server of accumulators, which has nothing to do any more, to look up. Here that
    server ends in its own time, or with the process.
    """
    with contextlib.suppress(Exception):  # through Connect there is none
        server = spark.sparkContext._accumulatorServer
        if not isinstance(server.server_address, str):  # a socket's file, which the server has to delete
            end = threading.Thread(target=server.shutdown, daemon=True)
            server.shutdown = end.start
    with contextlib.suppress(Exception):
        spark.stop()
    with contextlib.suppress(Exception):  # PySpark would not ask a later session
        if utils._enable_debugging_cache is False:
            utils._enable_debugging_cache = None


def prepare_next(master: str) -> None:
    """Has later runs start in less time, after one that has ended well on this machine; or waits for what the JVM makes
    of this one for that purpose.

    Args:
        master: of the session that has ended.
    """
    # Through Connect the master is the server's, and no JVM of this process's.
    if _launched_by_spark_submit() or "SPARK_REMOTE" in os.environ or not master.startswith("local"):
        return
    with contextlib.suppress(Exception):  # of a run that has ended well
        if MAKING in given_to_java():
            from pyspark import SparkContext

            gateway = SparkContext._gateway
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait()
        else:
            make_later(given_to_java(), first=sys.stdout.isatty() and sys.stderr.isatty())


def _for_submitted(preload: Sequence[str]) -> dict[str, str]:
    """Settings for the session of a program that spark-submit has started: its user's are in its JVM already."""
    if is_remote():
        return {}
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    with contextlib.suppress(Exception):  # a platform may have another logger, or forbid its use
        quiet_submitted(SparkContext._jvm)
    given = SparkConf()
    settings = {name: value for name, value in NO_CALL_SITES.items() if not given.contains(name)}
    if str(given.get("spark.master", "local")).startswith("local"):
        settings |= _own_daemon(preload, dict(given.getAll()))
    # Without a name from its user spark-submit gives it the program's.
    named = given.get("spark.app.name") not in (None, Path(sys.argv[0]).name)
    return settings if named else {"spark.app.name": _NAME, **settings}


def warming(spark: SparkSession, load: Callable[[], None]) -> Callable[[], None]:
    """What starts the Python workers of a local session, and has them ``load`` what they will need: a second or two,
    which are to be had while the driver looks at the input.

    The query is made here, and only run by what is returned: PySpark imports modules while a query is made, which two
    threads should not do at once.
    """
    if is_remote() or not str(spark.conf.get("spark.master", "")).startswith("local"):
        return lambda: None
    cores = parallelism(spark)

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        load()
        return batches

    writer = spark.range(0, cores, 1, cores).mapInArrow(work, "id bigint").write.format("noop").mode("overwrite")
    return writer.save


def print_error(line: str) -> None:
    """Prints to stderr. spark-submit sends all that its Python program prints to stdout, so there the JVM says it."""
    if _launched_by_spark_submit():
        with contextlib.suppress(Exception):
            from pyspark import SparkContext
            from pyspark.java_gateway import launch_gateway

            gateway = SparkContext._gateway or launch_gateway()
            gateway.jvm.java.lang.System.err.println(line)
            return
    print(line, file=sys.stderr)


def _launched_by_spark_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ
