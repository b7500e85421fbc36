"""Files where only Hadoop's classes reach them (HDFS without a native client, ``viewfs``, a vendor's own file system).

For the driver of a classic session, and for the small files that a run keeps there: notes, manifests, counts. Workers
have no JVM; what they would read or write there, Spark reads and writes for them. Pictures that rows name, and tar
shards, of which Spark knows nothing, they reach by one of their own (``worker_jvm``).
"""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import fs
from pyspark.sql.utils import is_remote

from imgdedup_spark.files import storage
from imgdedup_spark.files.sharing import also_create_with
from imgdedup_spark.spark.hadoop_streams import BLOCK, HadoopInput, HadoopOutput, as_os_errors

_CONDITION = "fs.option.create.conditional.overwrite"
#: How S3A tells that a condition was not met: 412, or 409 while another request is under way.
_REFUSED = re.compile(
    r"FileAlreadyExists|RemoteFileChanged|Precondition ?Failed|ConditionalRequestConflict|\b(412|409)\b"
)


def serve_storage() -> None:
    """Lets ``files.storage`` open, in this process, what only Spark can."""
    storage.also_open_with(opened_by_spark)
    also_create_with(create_by_condition)


def opened_by_spark(root: str) -> fs.FileSystem | None:
    """The file system of ``scheme://authority`` as Spark opens it; None without a JVM, or if Hadoop knows none."""
    handler = HadoopHandler(root)
    try:
        with handler.at("/"):
            return fs.PyFileSystem(handler)
    except OSError:
        return None


def spark_opens(uri: str) -> bool:
    """Whether Spark has a file system for what a plain URI names; through Connect, where it cannot be asked, for all
    but the Hub's."""
    scheme = storage.split_uri(uri)[0]
    if scheme in ("file", "hf") or is_remote():
        return scheme != "hf"
    return opened_by_spark(root_of(uri)) is not None


def root_of(uri: str) -> str:
    """``s3a://lake`` of what lies there, as it was written."""
    return uri[: uri.index(":")] + "://" + storage.split_uri(uri)[1]


def why_not_by_spark(uri: str) -> str:
    """What is in the way when Spark opens what a plain URI names, there or not; empty if nothing is."""
    try:
        handler = HadoopHandler(root_of(uri))
        with handler.at(storage.split_uri(uri)[2]) as (hadoop, java):
            if hadoop.exists(java):
                hadoop.listStatus(java)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def create_by_condition(uri: str, content: bytes) -> bool | None:
    """Creates an object by a conditional write of S3A's (``If-None-Match``), which of several at once one wins.

    Returns:
        Whether this call has created it; None where S3A or the store knows no conditions. A store that passes over
        the condition also accepts it a second time, when it cannot be met, and is told by that.

    Raises:
        OSError: the store fails; the object may be there or not.
    """
    if not uri.startswith("s3a://"):
        return None
    try:
        with HadoopHandler(uri).at("") as (hadoop, java):
            if not hadoop.hasPathCapability(java, _CONDITION):
                return None
    except OSError:
        return None
    if not _create(uri, content):
        return False
    return None if _create(uri, content) else True


def _create(uri: str, content: bytes) -> bool:
    try:
        with HadoopHandler(uri).at("") as (hadoop, java):
            builder = hadoop.createFile(java)
            builder.overwrite(True)  # S3A looks for nothing itself: the condition is the store's to check
            builder.must(_CONDITION, True)
            with closing(builder.build()) as stream:
                stream.write(bytearray(content))
        return True
    except OSError as error:
        if _REFUSED.search(error.strerror or ""):
            return False
        raise


class Jvm(NamedTuple):
    """Py4J's view of a JVM, and the Hadoop configuration to use there."""

    view: Any
    configuration: Any


class HadoopHandler(fs.FileSystemHandler):
    """The operations that ``files.storage`` needs, by ``org.apache.hadoop.fs.FileSystem``.

    Args:
        jvm: looked up each time: a session may have been stopped since.
    """

    def __init__(self, root: str, jvm: Callable[[], Jvm | None] | None = None) -> None:
        self.root = root.rstrip("/")
        self._jvm = jvm or _drivers_jvm

    @contextmanager
    def at(self, path: str) -> Iterator[tuple[Any, Any]]:
        """The Java file system and the Java path."""
        jvm = self._jvm()
        if jvm is None:
            raise OSError(errno.ENOTCONN, f"{self.root}{path}: there is no JVM here, or Spark has been stopped")
        with as_os_errors(self.root + path):
            java = jvm.view.org.apache.hadoop.fs.Path(self.root + (path or "/"))
            yield java.getFileSystem(jvm.configuration), java

    def get_type_name(self) -> str:
        return "hadoop"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        found = []
        for path in paths:
            with self.at(path) as (hadoop, java):
                status = hadoop.getFileStatus(java) if hadoop.exists(java) else None
                found.append(_info(path, status))
        return found

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        found: list[fs.FileInfo] = []
        folders = [selector.base_dir]
        while folders:
            folder = folders.pop()
            with self.at(folder) as (hadoop, java):
                there = not selector.allow_not_found or hadoop.exists(java)
                statuses = hadoop.listStatus(java) if there else ()
                here = [_info(f"{folder.rstrip('/')}/{one.getPath().getName()}", one) for one in statuses]
            found += here
            if selector.recursive:
                folders += [one.path for one in here if one.type == fs.FileType.Directory]
        return found

    def create_dir(self, path: str, recursive: bool) -> None:
        with self.at(path) as (hadoop, java):
            _check(hadoop.mkdirs(java), f"cannot make {self.root}{path}")

    def delete_dir(self, path: str) -> None:
        with self.at(path) as (hadoop, java):
            _check(hadoop.delete(java, True), f"cannot delete {self.root}{path}")

    delete_file = delete_dir

    def move(self, src: str, dest: str) -> None:
        with self.at(src) as (hadoop, java), self.at(dest) as (_, target):
            _check(hadoop.rename(java, target), f"cannot rename {self.root}{src} to {self.root}{dest}")

    def open_input_file(self, path: str) -> pa.NativeFile:
        with self.at(path) as (hadoop, java):
            size = hadoop.getFileStatus(java).getLen()
            stream = HadoopInput(self.root + path, hadoop.open(java), size)
        return pa.PythonFile(io.BufferedReader(stream, BLOCK), mode="r")

    open_input_stream = open_input_file

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        with self.at(path) as (hadoop, java):
            stream = HadoopOutput(self.root + path, hadoop.create(java, True))
        return pa.PythonFile(io.BufferedWriter(stream, BLOCK), mode="w")

    def _unused(self, *_: Any) -> Any:
        raise NotImplementedError

    copy_file = open_append_stream = delete_dir_contents = delete_root_dir_contents = _unused


def _drivers_jvm() -> Jvm | None:
    context = _context()
    return None if context is None else Jvm(context._jvm, context._jsc.hadoopConfiguration())


def _context() -> Any:
    try:
        from pyspark import SparkContext
    except ImportError:  # pyspark-client is all there is
        return None
    return SparkContext._active_spark_context


def _info(path: str, status: Any | None) -> fs.FileInfo:
    if status is None:
        return fs.FileInfo(path, type=fs.FileType.NotFound)
    if status.isDirectory():
        return fs.FileInfo(path, type=fs.FileType.Directory)
    changed = status.getModificationTime() * 1_000_000
    return fs.FileInfo(path, type=fs.FileType.File, size=status.getLen(), mtime_ns=changed)


def _check(done: bool, problem: str) -> None:
    if not done:
        raise OSError(errno.EIO, problem)


def default_file_system() -> str:
    """Where Spark finds paths without a scheme, ``hdfs://name``; empty if that is the local disk or cannot be told."""
    context = _context()
    if context is None:
        return ""
    name = str(context._jsc.hadoopConfiguration().get("fs.defaultFS", "file:///"))
    return "" if name.startswith("file:") else name.rstrip("/")
