"""An archive of Spark's classes, with which Java starts in two thirds of the time: made once for each Java and Spark,
in the user's cache folder.

Java calls it an application's class-data archive (JEP 350). The JVM that makes one takes some ten seconds longer, so
that no run of the user's does it, but one of its own that begins after the first run from a terminal, or the second of
any other kind on this machine.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import imgdedup_spark
from imgdedup_spark.caches import own_folder, unused

log = logging.getLogger("imgdedup")
_PATH = "IMGDEDUP_CLASS_ARCHIVE"
MAKING = "-XX:ArchiveClassesAtExit="
# A GIF file of one pixel.
_PICTURE = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
# Java's first that Spark 4 runs on; archives of an application's own classes are there since 13.
_LEAST_JAVA = 17
#: The last one that is known to have the option below: one that has not would not start.
_LAST_UNPROVED = 25
# Java compiled them, and proofs are for code of strangers: a tenth of a short run's time.
_UNPROVED = ["-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote"]
#: Java writes this last. A file that it was kept from finishing has nothing there.
_MAGIC, _UNFINISHED = (0xF00BABA8).to_bytes(4, sys.byteorder), (b"", bytes(4))
#: Within which whoever has begun is done, or was kept from it.
_LONGEST_SECONDS = 3600
# An archive that does not fit is passed over; Java would say so.
_QUIET = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off"]
# The run that makes it is nobody's: it goes to no cluster, and is told to no listener.
_ALONE = ("spark.master=local[1]", "spark.eventLog.enabled=false", "spark.extraListeners=", "spark.ui.enabled=false")


def archive_flags(java_options: str) -> list[str]:
    """What a JVM that is about to start for Spark is told: to use an archive, or to make one when it ends.

    The variable ``IMGDEDUP_CLASS_ARCHIVE`` names a file that is made if it is not there, or is ``off``; without it the
    one in the cache folder is used, if it is there.

    Args:
        java_options: what it is told by the user.
    """
    path = _path(java_options)
    if path is None:
        return []
    begins = _begins(path)
    if begins == _MAGIC:
        with suppress(OSError):
            os.utime(path)  # it is in use
        return [f"-XX:SharedArchiveFile={path}", *_QUIET]
    # Another file of the user's is left alone.
    return [f"{MAKING}{path}", *_QUIET] if os.environ.get(_PATH) and begins in _UNFINISHED else []


def unproved_flags() -> list[str]:
    """What a JVM is told that loads classes one by one: that it need not prove of each that its code is sound."""
    java = _java()
    return _UNPROVED if java and _LEAST_JAVA <= java[1] <= _LAST_UNPROVED else []


def make_later(java_options: str, *, first: bool = True) -> None:
    """Starts what makes an archive in the cache folder, if there is none, and leaves it alone: whoever has started this
    process waits for nothing.

    Args:
        first: whether after a first run; else one before must have left its note: what runs once in a container or on
            a borrowed machine leaves no more than that behind.
    """
    path = _path(java_options)
    if path is None or os.environ.get(_PATH) or _begins(path) == _MAGIC:
        return
    begun, seen = path.with_suffix(".begun"), path.with_suffix(".seen")
    with suppress(OSError):
        if not first and not seen.exists():
            seen.touch()
            return
        if begun.exists() and time.time() - begun.stat().st_mtime > _LONGEST_SECONDS:
            begun.unlink()
        begun.touch(exist_ok=False)  # by one process
        for old in unused(path.parent, "classes-*"):
            old.unlink(missing_ok=True)
        found = [str(Path(imgdedup_spark.__file__).absolute().parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {_PATH: str(path), "PYTHONPATH": os.pathsep.join(filter(None, found))}
        environment["PYSPARK_SUBMIT_ARGS"] = " ".join([*(f"--conf {one}" for one in _ALONE), "pyspark-shell"])
        subprocess.Popen(
            [sys.executable, "-m", __name__], env={**os.environ, **environment}, cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        log.info("Spark's classes are being put into %s: the next run starts in less time (%s=off)", path, _PATH)


def main() -> None:
    """A run on three rows, by way of Spark alone, whose JVM makes the archive as it ends.

    Raises:
        subprocess.CalledProcessError: the run has failed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    os.nice(19)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table({"id": [1, 2, 3], "image": [_PICTURE] * 3}), f"{folder}/in.parquet")
        options = [f"--input={folder}/in.parquet", f"--output={folder}/out", "--id-col=id", "--threshold=8", "--report"]
        command = [sys.executable, "-m", "imgdedup_spark.cli", *options]
        subprocess.run(command, env={**os.environ, "IMGDEDUP_DRIVER_ROWS": "0"}, check=True)


def _path(java_options: str) -> Path | None:
    """Where the archive is or would be; None if there can be none, or the user has said something else of them."""
    where = os.environ.get(_PATH, "")
    home = _java_home()
    if where == "off" or home is None or re.search(r"-Xshare|SharedArchive|ArchiveClasses", java_options):
        return None
    path = Path(where).absolute() if where else _cached(home)
    return None if path is None or re.search(r"\s", str(path)) else path


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError:
        return b""


def _java_home() -> Path | None:
    """Of the Java that Spark will start, if it can have archives."""
    java = _java()
    # Beside it lies Java's own archive, which those of applications build upon.
    fits = java and java[1] >= _LEAST_JAVA and (java[0] / "lib" / "server" / "classes.jsa").is_file()
    return java[0] if java and fits else None


def _java() -> tuple[Path, int] | None:
    """Where the Java that Spark will start is, and its version, as far as it can be told."""
    given = os.environ.get("JAVA_HOME")
    java = str(Path(given) / "bin" / "java") if given else shutil.which("java")
    if java is None:
        return None
    home = Path(java).resolve().parents[1]
    try:
        version = re.search(r'JAVA_VERSION="(\d+)', (home / "release").read_text("utf-8", "replace"))
    except OSError:
        return None
    return (home, int(version[1])) if version else None


def _cached(home: Path) -> Path | None:
    """For this Java and this Spark: another one as soon as a part of either is another."""
    from pyspark.find_spark_home import _find_spark_home

    jars = Path(_find_spark_home()) / "jars"
    try:
        parts = [f"{one.name} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in os.scandir(jars)]
        parts += [str(jars), str(home), (home / "release").read_text("utf-8", "replace")]
    except OSError:
        return None
    name = f"classes-{hashlib.blake2b(chr(10).join(sorted(parts)).encode(), digest_size=8).hexdigest()}.jsa"
    folder = own_folder()
    return None if folder is None else folder / name


if __name__ == "__main__":
    main()
