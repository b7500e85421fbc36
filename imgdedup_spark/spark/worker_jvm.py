"""A JVM of a worker's own, for the files that rows name on a store which only Hadoop's classes open.

A Python worker cannot use the JVM of its executor. It starts a small one with that one's classes, options and Hadoop
configuration, when a row first asks for such a file; that ends with the worker.
"""

from __future__ import annotations

import os
import threading
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pyarrow import fs
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import first_line
from imgdedup_spark.files import storage
from imgdedup_spark.spark.hadoop import HadoopHandler, Jvm

#: Enough for a few pictures at a time, and for what the client of a store needs.
_OPTIONS = ("-Xmx512m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_starting = threading.Lock()


@dataclass(frozen=True)
class OwnJvm:
    """Opens a store in a worker.

    Attributes:
        configuration: Hadoop's in the driver, with the keys in it, as compressed XML; in no ``repr``.
    """

    configuration: bytes = field(repr=False)

    @classmethod
    def of(cls, spark: SparkSession) -> OwnJvm | None:
        """None through Spark Connect, whose server tells nothing of its configuration."""
        if is_remote():
            return None
        context = spark.sparkContext
        writer = context._jvm.java.io.StringWriter()
        context._jsc.hadoopConfiguration().writeXml(writer)
        return cls(zlib.compress(writer.toString().encode()))

    def __call__(self, root: str) -> fs.FileSystem:
        """The file system of ``scheme://authority``.

        Raises:
            SparkAlone: no JVM can be started, or Hadoop has no such file system in it.
        """
        try:
            with _starting:
                jvm = _start(self.configuration, os.getpid())
            handler = HadoopHandler(root, lambda: jvm)
            with handler.at("/"):
                return fs.PyFileSystem(handler)
        except Exception as error:  # of starting a process, of Py4J, of Java
            raise storage.SparkAlone(
                f"{root} is opened by Spark alone, and not by a JVM: {first_line(error)}"
            ) from None


@lru_cache(maxsize=4)
def _start(configuration: bytes, process: int) -> Jvm:
    """
    Args:
        process: this one; a fork of it has no part in its JVM.
    """
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

    java, classes, options = _executor()
    jar = next(one for folder in classes for one in Path(folder).parent.glob("py4j-*.jar"))
    port, token = launch_gateway(
        jarpath=str(jar), classpath=os.pathsep.join(classes), javaopts=[*_OPTIONS, *options], java_path=java,
        die_on_exit=True, enable_auth=True,
    )  # fmt: skip
    parameters = GatewayParameters(port=port, auth_token=token, auto_convert=True)
    view = JavaGateway(gateway_parameters=parameters).jvm
    found = view.org.apache.hadoop.conf.Configuration()
    found.addResource(view.java.io.ByteArrayInputStream(bytearray(zlib.decompress(configuration))))
    return Jvm(view, found)


def _executor() -> tuple[str, list[str], list[str]]:
    """The Java, the classes and the properties of the JVM that has started this worker, where the system tells of it;
    else of the Spark that is installed here. What ``--jars`` brought lies in the folder of the job's files."""
    java, classes, options = "", [os.environ.get("CLASSPATH", "")], []
    process = os.getppid()
    while process > 1 and not java:
        folder = Path(f"/proc/{process}")
        try:
            command = folder.joinpath("cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
            status = folder.joinpath("stat").read_text()
            program = folder.joinpath("exe").readlink()
        except OSError:
            break
        if program.name == "java":
            java = str(program)
            at = next((number for number, one in enumerate(command) if one in ("-cp", "-classpath")), None)
            classes += command[at + 1].split(os.pathsep) if at else []
            options = [one for one in command if one.startswith("-D") and not one.startswith("-Dspark.")]
        process = int(status.rpartition(")")[2].split()[1])
    if not any(classes):
        from pyspark.find_spark_home import _find_spark_home

        classes.append(f"{_find_spark_home()}/jars/*")
    from pyspark import SparkFiles

    given = map(str, Path(SparkFiles.getRootDirectory()).glob("*.jar"))
    return java or "", [*filter(None, classes), *given], options
