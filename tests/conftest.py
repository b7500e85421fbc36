"""Fixtures: one Spark session for the whole run (classic or Connect), and real photographs."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pyspark
import pytest
from hypothesis import settings

from imgdedup_spark.spark.class_archive import archive_flags

# Before the JVM starts: workers must be this Python.
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable

# Tests run much of a JVM a few times each: compiled quickly and never again, with garbage collected in one thread, they
# cost it a third less; and with its classes from an archive, if make has made one, it starts in two thirds of the time.
# C1 alone would give compiled code 48 MB, which thousands of queries outgrow.
ARCHIVE = Path(sys.prefix) / "classes.jsa"
os.environ.setdefault("IMGDEDUP_CLASS_ARCHIVE", str(ARCHIVE) if ARCHIVE.exists() else "off")
JAVA_OPTIONS = [
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=240m",
    "-XX:+UseSerialGC",
    *(archive_flags("") if ARCHIVE.exists() else []),
]
os.environ.setdefault("SPARK_SUBMIT_OPTS", " ".join(JAVA_OPTIONS))

# The same examples in every run of CI: a new one that fails is for people to find, not for somebody else's change.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

#: ``classic`` or ``connect``: the same tests run on both (make test, make test-connect).
MODE = os.environ.get("IMGDEDUP_TEST_SPARK", "classic")
# Spark's engine is the same in each mode, and has two ways: the server's plans are not adapted, and code is compiled
# for what starts its own Spark alone, for it costs a session of small queries a sixth more.
_NOT_ADAPTED = {"spark.sql.adaptive.enabled": "false"}
_NOT_COMPILED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What starts its own Spark is the same in each mode, and runs in one; there it runs first, for it takes longest,
    and two workers that share the tests out are to end together.

    In CI, for its time, all run on classic PySpark 4, and a sixth of them once more: a twelfth on Connect, another
    one on PySpark 3.5, where of what starts its own Spark only the doors run. Without it (``make check`` on one's own
    machine) all run on all.
    """
    own = [one for one in items if one.get_closest_marker("spark") and "spark" not in one.fixturenames]  # type: ignore[attr-defined]
    owned = set(own)
    others = [one for one in items if one not in owned]
    few = "CI" in os.environ and (MODE == "connect" or pyspark.__version__.startswith("3."))
    if few:
        here = int(MODE == "connect")
        others = [one for one in others if one.path.name == "test_connect_path.py" or _twelfth(one.nodeid) == here]
    if MODE == "connect":
        own = []
    elif few:
        own = [one for one in own if one.path.name == "test_commands.py"]
    chosen = own + others
    config.hook.pytest_deselected(items=list(set(items) - set(chosen)))
    items[:] = chosen


def _twelfth(test: str) -> int:
    """0 to 11, of a test always the same."""
    return zlib.crc32(test.encode()) % 12


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.memory": "2g",
        **_NOT_COMPILED,
    }
    with pytest.MonkeyPatch.context() as patched:
        # The workers' Pillow dies of pictures that ask for it.
        patched.setenv("PYTHONPATH", str(Path(__file__).parent / "killers"), prepend=os.pathsep)
        session = connect_session(options) if MODE == "connect" else classic_session(options)
    yield session
    session.stop()


def classic_session(options: dict[str, str]) -> Any:
    from pyspark.sql import SparkSession

    from imgdedup_spark.spark.session import NO_CALL_SITES, look_up_once

    options = {**options, **NO_CALL_SITES}
    session = SparkSession.builder.appName("tests").master("local[2]").config(map=options).getOrCreate()
    look_up_once()
    return session


def connect_session(options: dict[str, str]) -> Any:
    """What ``remote("local[2]")`` gives, with a port of its own: sessions run side by side."""
    import socket

    from pyspark.sql.connect.session import SparkSession

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    SparkSession._start_connect_server(
        "local[2]", {**options, **_NOT_ADAPTED, "spark.connect.grpc.binding.port": str(port)}
    )
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # makes pyspark.sql.functions those of Connect
    return SparkSession.builder.appName("tests").remote(f"sc://localhost:{port}").config(map=options).getOrCreate()


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Real photographs as small JPEG files: A, B, C, … are different pictures."""
    import skimage.data
    from PIL import Image

    names = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins")
    found = {}
    for letter, name in zip("ABCDEF", names, strict=True):
        picture = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        picture.thumbnail((200, 200))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        found[letter] = buffer.getvalue()
    return found


@pytest.fixture(scope="session")
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 with its trained weights as an ONNX file; skips where the packages are missing."""
    from encoders import save_efficientnet

    return save_efficientnet(tmp_path_factory.mktemp("efficientnet") / "model.onnx")


@pytest.fixture
def run(spark, tmp_path) -> Callable[..., Result]:
    """Runs the whole job in the test's session: ``run(input, "--threshold", 3)`` → `Result`."""
    from imgdedup_spark.config.command_line import read_options
    from imgdedup_spark.job import run as run_job

    def run_it(inputs: object, *options: object, output: str | None = None) -> Result:
        folder = tmp_path / (output or f"out{len(list(tmp_path.glob('out*')))}")
        given = [str(one) for one in inputs] if isinstance(inputs, list) else [str(inputs)]
        run_job(spark, read_options(["--input", *given, "--output", str(folder), *map(str, options)]))
        return Result(folder)

    return run_it


def write_tar(path: Path, files: Iterable[tuple[str, bytes]], mode: str = "w") -> None:
    """Makes an archive of these files, by name."""
    with tarfile.open(path, mode) as made:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))


@contextmanager
def spark_settings(spark: Any, options: dict[str, str]) -> Iterator[None]:
    """The shared session with other settings for a while."""
    before = {name: spark.conf.get(name, None) for name in options}
    for name, value in options.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)


@dataclass(frozen=True)
class Result:
    """An output folder, read without Spark."""

    folder: Path

    def table(self, name: str) -> list[dict[str, Any]]:
        """Rows of a Parquet part of the output, files in order of their names."""
        files = sorted((self.folder / name).glob("part-*.parquet"))
        return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]

    def lines(self, name: str) -> list[dict[str, Any]]:
        files = sorted((self.folder / name).glob("part-*.json*"))
        return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]

    @property
    def kept(self) -> list[dict[str, Any]]:
        return self.table("kept") if list((self.folder / "kept").glob("part-*.parquet")) else self.lines("kept")

    def ids(self, column: str = "id") -> list[Any]:
        return [row[column] for row in self.kept]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text("utf-8"))

    @property
    def dropped(self) -> dict[Any, Any]:
        """id → kept_id"""
        return {row["id"]: row["kept_id"] for row in self.table("duplicates")}
