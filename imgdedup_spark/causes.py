"""Why a job failed, in one line: Spark buries a worker's error, and its own, under stacks of two languages."""

from __future__ import annotations

import re
import shutil
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from imgdedup_spark.errors import JobError, UserError, first_line

#: Characters of a cause.
_LONGEST = 500
_TRACEBACK = "Traceback (most recent call last):"
_FULL = "No space left on device"
#: Bytes: what could not be written whole may have been deleted since, and have left so much.
_NOTHING_LEFT = 64 << 20
#: Of exceptions that say all there is to say.
_OURS = tuple(f"{kind.__module__}.{kind.__name__}: " for kind in (JobError, UserError))
_KNOWN = re.compile(r"\[[A-Z][A-Z_.0-9]+\] (.+)")
_NAMES = re.compile(r"^(?:[\w.$]*[a-z]\w*(?:Exception|Error|Throwable): )+")
_SQLSTATE = re.compile(r"\s*SQLSTATE: \w+\s*$")
_NO_PACKAGE = re.compile(r"^ModuleNotFoundError: No module named '(\w+)", re.MULTILINE)
_SHIP = (
    "Spark's workers have no package imgdedup_spark: install it there, or send it, with "
    "spark.addArtifacts('imgdedup_spark.zip', pyfile=True) through Spark Connect, with --py-files to spark-submit"
)
_OTHER_PYTHON = (
    "Spark's workers run a Python without the package {}: let PYSPARK_PYTHON (or spark.pyspark.python) name one that "
    "has what imgdedup-spark needs, or send such an environment with --archives"
)
#: What others say → what to do about it, with the groups of the pattern.
_REMEDIES = (
    (
        re.compile(r"Python in worker has different version:? ?\(?([\d.]+)\)? than that in driver:? ?\(?([\d.]+)\)?"),
        "Spark's workers run Python {}, the driver {}: let PYSPARK_PYTHON (or spark.pyspark.python) name the same one",
    ),
    (
        re.compile(r"(\w+ >= [\d.]+) must be installed; however, (?:your version is ([\d.]*\d)|it was not found)"),
        "PySpark needs {} and finds {}: install it where the workers run, or send an environment with --archives",
    ),
    (
        re.compile(r"Support for codec '(\w+)' not built"),
        "this pyarrow cannot unpack {}: install another build of it, or write the files with another compression",
    ),
    (
        re.compile(r"(?:AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|NoAuthWithAWS|403 Forbidden)\w*"),
        "the store refuses the credentials that Spark has for it (spark.hadoop.fs.…), or there are none",
    ),
)
_NO_HEAP = "OutOfMemoryError"
_WORKER_GONE = ("Python worker exited unexpectedly", "Python worker failed to connect back")


def cause(error: BaseException, folders: Iterable[str] = ()) -> str:
    """The line of an exception that says most.

    Args:
        folders: local folders that the job writes to, of which one may be on a full disk.
    """
    lacking = lacking_package(error)
    if lacking:
        return lacking
    remedy = _remedy(str(error))
    if remedy:
        return remedy
    text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
    if _FULL in text:
        return _full_disk(text, folders)
    if _TRACEBACK in text:
        return _of_python(text[text.index(_TRACEBACK) :])
    if type(error).__module__.partition(".")[0] in ("pyspark", "py4j"):
        return (_of_java(text) or type(error).__name__)[:_LONGEST]
    return f"{type(error).__name__}: {' '.join(text.split())}".removesuffix(": ")[:_LONGEST]


def _remedy(text: str) -> str | None:
    """What to do about an error whose own words do not say it."""
    for known, told in _REMEDIES:
        if found := known.search(text):
            return told.format(*(group or "none" for group in found.groups()))
    return None


def lacking_package(error: BaseException) -> str | None:
    """What to do about a package that a worker could not import; None if that is not it."""
    text = str(error)
    if f"No module named '{__package__}" in text:
        return _SHIP
    found = _NO_PACKAGE.search(text[text.find(_TRACEBACK) :]) if _TRACEBACK in text else None
    return None if found is None else _OTHER_PYTHON.format(found[1])


def failure(error: BaseException, folders: Iterable[str] = ()) -> str:
    """The line that a failed job says of an exception: its ``cause``, and where the whole stack is."""
    return f"the job failed: {cause(error, folders)}{kept_whole(error)}"


def kept_whole(error: BaseException) -> str:
    """Where the whole stack of an error has been written, as the end of a line that tells of it; nothing where that
    cannot be done."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="imgdedup-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.writelines(traceback.format_exception(type(error), error, error.__traceback__))
    except (OSError, ValueError):
        return ""
    return f" (the whole stack is in {file.name})"


@contextmanager
def in_one_line() -> Iterator[None]:
    """What a Python call raises in the place of a stack whose cause is known.

    Raises:
        UserError: in the place of what a store's library has raised that is of no kind, as of missing credentials.
        JobError: in the place of a stack that ends in a worker without this package or another.
    """
    # Not above: the command line's help needs neither.
    import pyarrow as pa
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        lacking = lacking_package(error)
        if lacking:
            raise JobError(lacking) from None
        raise
    except pa.ArrowException as error:
        if type(error) is pa.ArrowException:
            raise UserError(f"a store cannot be opened: {first_line(error)}") from None
        raise


def _of_python(text: str) -> str:
    """The last exception of the first traceback: those it was raised from come before it."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("\tat ", "Caused by:", "Driver stacktrace")):
            break
        lines.append(line)
    # Behind the last frame and its lines of code, which are indented, comes what may have several lines of any kind.
    last = max(index for index, line in enumerate(lines) if line.startswith((_TRACEBACK, "  File ")))
    first = next((at for at in range(last + 1, len(lines)) if not lines[at].startswith("  ")), len(lines))
    said = " ".join(line.strip() for line in lines[first:] if line.strip())
    said = _SQLSTATE.sub("", said)
    for name in _OURS:
        said = said.removeprefix(name)
    return (said or lines[last].strip())[:_LONGEST]


def _of_java(text: str) -> str:
    """What Spark says of it, and what is behind that."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    gone = next((one for one in _WORKER_GONE if one in text), None)
    if gone is not None:
        fatal = next((line for line in lines if line.startswith("Fatal Python error")), gone)
        return f"{fatal}: was the worker killed for want of memory? Give it more, or run fewer tasks at a time"
    heap = next((line for line in lines if _NO_HEAP in line), None)
    if heap is not None:
        what = _plain(heap[heap.index(_NO_HEAP) + len(_NO_HEAP) :])
        return f"the JVM is out of memory ({what}): raise spark.driver.memory, or spark.executor.memory on a cluster"
    # "An error occurred while calling o123.parquet." says nothing.
    lines = [line for line in lines if not line.startswith(("An error occurred while calling", "at ", "..."))]
    known = next((found[1] for line in lines if (found := _KNOWN.search(line))), None)
    behind = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    parts = [_plain(one) for one in (known or next(iter(lines), ""), *behind[-1:])]
    return ": ".join(dict.fromkeys(one for one in parts if one))


def _plain(line: str) -> str:
    """Without names of exceptions, if there is more."""
    plain = _NAMES.sub("", _SQLSTATE.sub("", line.removeprefix(": "))).strip().rstrip(".")
    return plain or line


def _full_disk(text: str, folders: Iterable[str]) -> str:
    named = re.search(r"(/[^\s:'()]+)[^/\n]*" + _FULL, text) or re.search(_FULL + r": '?(/[^\s:'()]+)", text)
    if named:
        return f"the disk is full: {named[1]}"
    free = {}
    for folder in folders:
        try:
            free[folder] = shutil.disk_usage(folder).free
        except OSError:
            continue
    full = {folder: left for folder, left in free.items() if left < _NOTHING_LEFT} or free
    shown = ", ".join(f"{folder} has {left / 1e6:,.0f} MB left" for folder, left in full.items())
    return f"the disk is full: {shown or 'one that Spark writes to'}"
