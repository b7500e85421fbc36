"""A JVM of a worker's own, for files on a store which only Hadoop's classes open, and which Spark does not read: those
that rows name, and tar shards.

A Python worker cannot use the JVM of its executor. It starts a small one with that one's classes, options and Hadoop
configuration, when it first needs such a file; that ends with the worker.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from pyarrow import fs
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import first_line
from imgdedup_spark.files import storage
from imgdedup_spark.spark.hadoop import HadoopHandler, Jvm

#: Enough for a few pictures at a time, and for what the client of a store needs; small enough for workers of which
#: Spark bounds the address space.
_OPTIONS = ("-Xmx512m", "-XX:CompressedClassSpaceSize=64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# Of the executor's properties: Spark's own, and what opens a port that is taken.
_NOT_TAKEN_ALONG = ("-Dspark.", "-Dcom.sun.management.")
_lock = threading.Lock()
_mine: tuple[bytes, Popen[bytes], Jvm] | None = None


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
            handler = HadoopHandler(root, self._running)
            with handler.at("/"):
                return fs.PyFileSystem(handler)
        except Exception as error:  # of Py4J and of Java, too
            raise storage.SparkAlone(f"{root}: {getattr(error, 'strerror', None) or first_line(error)}") from None

    def _running(self) -> Jvm:
        """This process's JVM; another one, if it has died or another session's configuration is asked for: Hadoop keeps
        what it has opened, whatever the configuration."""
        global _mine
        with _lock:
            if _mine is None or _mine[0] != self.configuration or _mine[1].poll() is not None:
                if _mine is not None:
                    _mine[1].kill()
                _mine = (self.configuration, *_start(self.configuration))
            return _mine[2]


def _start(configuration: bytes) -> tuple[Popen[bytes], Jvm]:
    """Raises:
    OSError: there is no Java, or no Spark for it, or it does not start.
    """
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

    java, classes, options = _executor()
    # It must stand first; its name is that of Spark's distributions, or of those who have changed it.
    py4j = next((str(jar) for one in classes for jar in Path(one).parent.glob("*py4j*.jar")), None)
    if py4j is None:
        raise FileNotFoundError(errno.ENOENT, "the worker finds no jars of Spark")
    with tempfile.TemporaryFile(mode="w+") as said:
        try:
            port, token, process = launch_gateway(
                jarpath=py4j, classpath=os.pathsep.join(classes), javaopts=[*_OPTIONS, *options], java_path=java,
                redirect_stderr=said, die_on_exit=True, enable_auth=True, return_proc=True,
            )  # fmt: skip
        except ValueError:  # there is no number of a port
            said.seek(0)
            raise OSError(errno.EIO, f"no JVM of the worker's own starts: {said.readline().strip()}") from None
    parameters = GatewayParameters(port=port, auth_token=token, auto_convert=True)
    view = JavaGateway(gateway_parameters=parameters).jvm
    found = view.org.apache.hadoop.conf.Configuration()
    found.addResource(view.java.io.ByteArrayInputStream(bytearray(zlib.decompress(configuration))))
    return process, Jvm(view, found)


def _executor() -> tuple[str | None, list[str], list[str]]:
    """The Java, the classes and the properties of the JVM that has started this worker, as far as the system tells of
    it, and of the Spark that is installed here. What ``--jars`` brought lies in the folder of the job's files."""
    from pyspark import SparkFiles
    from pyspark.find_spark_home import _find_spark_home

    java, classes, options = None, list[str](), list[str]()
    process = os.getppid()
    while process > 1 and java is None:
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
            classes = command[at + 1].split(os.pathsep) if at else []
            options = [one for one in command if one.startswith("-D") and not one.startswith(_NOT_TAKEN_ALONG)]
        process = int(status.rpartition(")")[2].split()[1])
    classes += [*os.environ.get("CLASSPATH", "").split(os.pathsep), f"{_find_spark_home()}/jars/*"]
    classes += map(str, Path(SparkFiles.getRootDirectory()).glob("*.jar"))
    # Executors work as the user whom Spark names, where nobody has to prove who they are.
    user = os.environ.get("SPARK_USER")
    options += [f"-DHADOOP_USER_NAME={user}"] if user else []
    return java, list(filter(None, classes)), options
