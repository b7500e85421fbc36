"""What the tests of stores and tables have in common. ``make test-lakes`` brings the jars and servers; else they are
skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
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


def hdfs_jars() -> str:
    """A class path with what a cluster and its clients need."""
    import pyspark

    needed = ("hadoop-client", "slf4j", "log4j")
    own = [
        one
        for one in (Path(pyspark.__file__).parent / "jars").glob("*.jar")
        if any(part in one.name for part in needed)
    ]
    return ":".join(map(str, [*(Path(JARS) / "hdfs").glob("*.jar"), *own]))


@contextmanager
def serving_hdfs(folder: Path) -> Iterator[str]:
    """``hdfs://host:port`` of a name node and two data nodes, which keep their files in the folder."""
    details = folder / "details.json"
    command = ["java", "-Xmx512m", "-cp", hdfs_jars(), "org.apache.hadoop.test.MiniDFSClusterManager", "-format"]
    command += ["-datanodes", "2", "-nnport", "0", "-httpport", "0", "-writeDetails", str(details)]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(240):
                if details.exists() and details.read_text().endswith("}"):
                    break
                assert process.poll() is None
                time.sleep(0.5)
            yield f"hdfs://127.0.0.1:{json.loads(details.read_text())['namenode_port']}"
        finally:
            process.kill()
