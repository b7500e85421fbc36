"""What the tests of stores and tables have in common. ``make test-lakes`` brings the jars and servers; else they are
skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import MODE

#: The folder that ``make test-lakes`` copies jars to, one folder for each file of ``tests/lakes/jars``.
JARS = os.environ.get("IMGDEDUP_JARS", "")
KEY, SECRET = "spark-alone", "sesame-open"


def need(name: str) -> list[pytest.MarkDecorator]:
    """The marks of tests that need these jars."""
    there = bool(JARS and list((Path(JARS) / name).glob("*.jar")))
    return [pytest.mark.spark, pytest.mark.skipif(not there, reason=f"needs the jars of {name}: make test-lakes")]


def jars(name: str) -> str:
    """For ``spark.jars``."""
    return ",".join(sorted(map(str, (Path(JARS) / name).glob("*.jar"))))


def s3a_settings(port: int, key: str = KEY) -> dict[str, str]:
    """All that Spark is told of the store."""
    settings = {
        "endpoint": f"http://127.0.0.1:{port}",
        "access.key": key,
        "secret.key": SECRET,
        "path.style.access": "true",
        "attempts.maximum": "1",
    }
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in settings.items()}


@contextmanager
def serving_s3(*options: str) -> Iterator[int]:
    """The port of a server that lets in ``KEY`` alone. On classic Spark nothing in the environment knows of it."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        del os.environ[name]
    if MODE == "connect":  # which tells its clients no secrets: the workers need keys of their own
        os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    python = os.environ.get("IMGDEDUP_MOTO", sys.executable)
    command = [python, str(Path(__file__).with_name("serve_s3.py")), KEY, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin is not None and server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()
