"""Files where only Spark's JVM can reach them (HDFS without a native client, ``viewfs``, a vendor's own file system).

For the driver of a classic session, and for the small files that a run keeps there: notes, manifests, counts. A file is
held in memory as a whole. Workers have no JVM; what they would read or write there, Spark reads and writes for them.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import fs

from imgdedup_spark.files import storage


def serve_storage() -> None:
    """Lets ``files.storage`` open, in this process, what only Spark can."""
    storage.also_open_with(opened_by_spark)


def opened_by_spark(root: str) -> fs.FileSystem | None:
    """The file system of ``scheme://authority`` as Spark opens it; None without a JVM, or if Hadoop knows none."""
    if _jvm() is None:
        return None
    handler = _HadoopHandler(root)
    try:
        handler.hadoop("/")
    except OSError:
        return None
    return fs.PyFileSystem(handler)


def _jvm() -> Any:
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    return None if context is None else context._jvm


class _HadoopHandler(fs.FileSystemHandler):
    """``pyarrow.fs``'s operations in terms of ``org.apache.hadoop.fs.FileSystem``."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def hadoop(self, path: str) -> tuple[Any, Any]:
        """The Java file system and the Java path. Looked up each time: a session may have been stopped since."""
        from pyspark import SparkContext

        jvm = _jvm()
        if jvm is None:
            raise OSError(errno.ENOTCONN, f"{self.root}{path}: Spark has been stopped")
        with _java_errors(self.root + path):
            java = jvm.org.apache.hadoop.fs.Path(self.root + (path or "/"))
            return java.getFileSystem(SparkContext._active_spark_context._jsc.hadoopConfiguration()), java

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HadoopHandler) and other.root == self.root

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def get_type_name(self) -> str:
        return "hadoop"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        found = []
        for path in paths:
            hadoop, java = self.hadoop(path)
            with _java_errors(self.root + path):
                there = hadoop.exists(java)
                found.append(
                    _info(path, hadoop.getFileStatus(java)) if there else fs.FileInfo(path, type=fs.FileType.NotFound)
                )
        return found

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        found: list[fs.FileInfo] = []
        folders = [selector.base_dir]
        while folders:
            folder = folders.pop()
            hadoop, java = self.hadoop(folder)
            with _java_errors(self.root + folder):
                if selector.allow_not_found and not hadoop.exists(java):
                    continue
                statuses = list(hadoop.listStatus(java))
                here = [_info(f"{folder.rstrip('/')}/{one.getPath().getName()}", one) for one in statuses]
            found += here
            if selector.recursive:
                folders += [one.path for one in here if one.type == fs.FileType.Directory]
        return found

    def create_dir(self, path: str, recursive: bool) -> None:
        hadoop, java = self.hadoop(path)
        with _java_errors(self.root + path):
            self._done(hadoop.mkdirs(java), "cannot make", path)

    def delete_dir(self, path: str) -> None:
        hadoop, java = self.hadoop(path)
        with _java_errors(self.root + path):
            self._done(hadoop.delete(java, True), "cannot delete", path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        for info in self.get_file_info_selector(fs.FileSelector(path, allow_not_found=missing_dir_ok)):
            self.delete_dir(info.path)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("a whole file system is not deleted")

    def delete_file(self, path: str) -> None:
        self.delete_dir(path)

    def move(self, src: str, dest: str) -> None:
        hadoop, java = self.hadoop(src)
        with _java_errors(self.root + src):
            self._done(hadoop.rename(java, self.hadoop(dest)[1]), f"cannot rename {src} to", dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._write(dest, self._read(src))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self._read(path))

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self._read(path))

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(_Output(self, path), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        raise NotImplementedError("nothing here appends to a file")

    def _read(self, path: str) -> bytes:
        hadoop, java = self.hadoop(path)
        with _java_errors(self.root + path):
            stream = hadoop.open(java)
            try:
                return bytes(_jvm().org.apache.commons.io.IOUtils.toByteArray(stream))
            finally:
                stream.close()

    def _write(self, path: str, content: bytes) -> None:
        hadoop, java = self.hadoop(path)
        with _java_errors(self.root + path):
            stream = hadoop.create(java, True)
            try:
                stream.write(bytearray(content))
            finally:
                stream.close()

    def _done(self, done: bool, what: str, path: str) -> None:
        if not done:
            raise OSError(errno.EIO, f"{what} {self.root}{path}")


class _Output(io.BytesIO):
    """A file that is written when it is closed."""

    def __init__(self, handler: _HadoopHandler, path: str) -> None:
        super().__init__()
        self._handler, self._path = handler, path

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._handler._write(self._path, content)


def _info(path: str, status: Any) -> fs.FileInfo:
    if status.isDirectory():
        return fs.FileInfo(path, type=fs.FileType.Directory)
    changed = status.getModificationTime() * 1_000_000
    return fs.FileInfo(path, type=fs.FileType.File, size=status.getLen(), mtime_ns=changed)


@contextmanager
def _java_errors(uri: str) -> Iterator[None]:
    from py4j.protocol import Py4JError, Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        code = errno.ENOENT if "FileNotFoundException" in str(error.java_exception) else errno.EIO
        raise OSError(code, str(error.java_exception).splitlines()[0], uri) from None
    except Py4JError as error:
        raise OSError(errno.EIO, os.strerror(errno.EIO) + f": {error}", uri) from None
