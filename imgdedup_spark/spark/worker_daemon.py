"""PySpark's daemon, which has loaded what its workers will need: they are forked from it.

A folder of pictures has four workers and two processes that decode at work on two cores, and each of them would load
the same modules anew: seconds of a small run. Of a cluster's executors nobody knows what they can import so early.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from importlib.abc import MetaPathFinder
from typing import Any

from imgdedup_spark.spark.early_daemon import EARLY, hand_over, wait

#: The variable that names the modules, with commas between them; behind a colon there may be a function to call.
PRELOAD = "IMGDEDUP_PRELOAD"
MODULE = "imgdedup_spark.spark.worker_daemon"


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def leave_pandas() -> None:
    """Has Arrow find no pandas, which it looks for once, and loads where it is there: two fifths of what takes workers
    time to load, for nothing. Whoever imports it finds it."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module("pyarrow").array([None])
    finally:
        sys.meta_path.remove(finder)


def load() -> None:
    """Loads what workers will need."""
    # Spark reads the daemon's port from stdout, and nothing of stderr before it: nobody else may say anything there.
    streams, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    try:
        with contextlib.suppress(Exception):
            leave_pandas()
        for name in filter(None, os.environ.get(PRELOAD, "").split(",")):
            module, _, function = name.partition(":")
            with contextlib.suppress(Exception):  # a worker that needs it will say what is wrong
                loaded = importlib.import_module(module)
                if function:
                    getattr(loaded, function)()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, stream in enumerate(streams, 1):
            os.dup2(stream, number)
            os.close(stream)
        os.close(nowhere)
    gc.collect()
    gc.freeze()  # what a worker's collector does not look at, it does not copy


def main() -> None:
    """Loads, or finds one that has, and is PySpark's daemon."""
    if sys.argv[1:2] and sys.argv[1].isdecimal():
        os.setpgid(0, 0)  # what interrupts the driver in a terminal is for it to tell
        load()
        try:
            _way = wait(int(sys.argv[1]))
        except (OSError, ValueError):  # whoever comes next becomes a daemon itself
            return
    else:
        early = os.environ.pop(EARLY, "")
        if early and hand_over(early):
            return
        load()
    from pyspark.daemon import manager

    manager()


if __name__ == "__main__":
    main()
