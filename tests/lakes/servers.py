"""What the tests of stores and tables have in common. ``make test-lakes`` brings the jars and servers; else they are
skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import MODE
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

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

    needed = ("hadoop-client", "slf4j", "log4j", "py4j")
    own = [
        one
        for one in (Path(pyspark.__file__).parent / "jars").glob("*.jar")
        if any(part in one.name for part in needed)
    ]
    return ":".join(map(str, [*(Path(JARS) / "hdfs").glob("*.jar"), *own]))


@dataclass(frozen=True)
class Hdfs:
    """A name node and three data nodes.

    Attributes:
        root: ``hdfs://host:port``.
        nodes: Java's ``MiniDFSCluster``.
        java: Py4J's view of its JVM.
    """

    root: str
    nodes: Any
    java: Any


@contextmanager
def serving_hdfs(folder: Path) -> Iterator[Hdfs]:
    """A cluster that keeps its files in the folder."""
    port, token, process = launch_gateway(
        jarpath=next(one for one in hdfs_jars().split(":") if "/py4j" in one), classpath=hdfs_jars(),
        javaopts=["-Xmx512m"], die_on_exit=True, enable_auth=True, return_proc=True, cwd=str(folder),
    )  # fmt: skip
    try:
        gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
        java = gateway.jvm
        builder = getattr(java.org.apache.hadoop.hdfs, "MiniDFSCluster$Builder")
        # As many as a client wants of each file: of fewer it will not go on when one dies while it writes.
        nodes = builder(java.org.apache.hadoop.conf.Configuration()).numDataNodes(3).build()
        nodes.waitActive()
        yield Hdfs(f"hdfs://127.0.0.1:{nodes.getNameNodePort()}", nodes, java)
        gateway.shutdown()
    finally:
        process.kill()
