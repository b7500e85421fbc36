"""One thin way to files on any file system: local ones, what ``pyarrow.fs`` opens, fsspec and, in the driver, Spark.

Every function takes a *plain* URI: a path or URL as a user writes it and as Spark reads it, where ``%20``
means itself. Spark writes file names percent-encoded in ``_metadata.file_path``: ``from_spark`` makes those
plain.
"""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files.access import Way, way_to
from imgdedup_spark.files.failures import FULL, saying_where
from imgdedup_spark.files.uris import absolute, encoded, escaped, from_spark, is_local, join, rooted, split_uri

__all__ = [
    "LEFT_ALONE_SECONDS", "SparkAlone", "UnsupportedScheme", "absolute", "also_open_with", "check_workers", "delete",
    "encoded", "escaped", "exists", "from_spark", "is_empty_or_missing", "is_file", "is_link", "is_local", "join",
    "list_changes", "list_files", "list_names", "list_states", "move_files", "open_fs", "open_output", "read_head",
    "read_text", "rooted", "split_uri", "write_text",
]  # fmt: skip
# Web servers are no storage: nothing here fetches from them, even where fsspec could.
_WEB = {"http", "https", "ftp", "ftps", "sftp"}
# File systems whose rename is cheap and whole. The others, object stores, copy to rename.
_RENAMING = {"file", "hdfs", "viewfs"}
#: What no run names is deleted when nothing in it has changed for a week: until then it may belong to a run at work.
LEFT_ALONE_SECONDS = 7 * 24 * 3600


class UnsupportedScheme(UserError):
    """Nothing installed here opens URLs of this scheme."""


class SparkAlone(UnsupportedScheme):
    """Spark opens this store, and workers cannot."""


def open_fs(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a plain URI and the path within it.

    File systems are opened once in a process. What nothing here opens, Spark may, in the driver of a classic session
    (``hadoop``): see ``check_workers``. Raises UnsupportedScheme, and UserError if the file system does not answer.
    """
    scheme, authority, path = split_uri(uri)
    if scheme == "file":
        return _local(), path
    opened, root = _remote(scheme, authority)
    return opened, root.rstrip("/") + (path.rstrip("/") or ("" if root.strip("/") else "/"))


def check_workers(uri: str) -> None:
    """Raises:
    UserError: Spark's workers could not open this file system, even if the driver can.
    """
    scheme, authority, _ = split_uri(uri)
    if scheme != "file":
        _without_spark(scheme, authority, way_to(scheme, authority))


#: Other ways to ``scheme://authority``, tried where nothing here opens it; they return None where they cannot either.
_more_openers: list[Callable[[str], fs.FileSystem | None]] = []


def also_open_with(opener: Callable[[str], fs.FileSystem | None]) -> None:
    """Lets the driver open, with ``opener``, what nothing here opens."""
    if opener not in _more_openers:
        _more_openers.append(opener)


@lru_cache(maxsize=1)
def _local() -> fs.FileSystem:
    return fs.LocalFileSystem()


def _remote(scheme: str, authority: str) -> tuple[fs.FileSystem, str]:
    """The file system of one bucket or host, and the path of its root in it."""
    return _opened(scheme, authority, way_to(scheme, authority))


@lru_cache(maxsize=64)
def _opened(scheme: str, authority: str, way: Way) -> tuple[fs.FileSystem, str]:
    try:
        return _without_spark(scheme, authority, way)
    except UserError:
        root = way.root or f"{scheme}://{authority}"
        for opener in () if scheme in _WEB else _more_openers:
            opened = opener(root)
            if opened is not None:
                return opened, ""
        if way.in_worker is not None:
            return way.in_worker(root), ""
        raise


@lru_cache(maxsize=64)
def _without_spark(scheme: str, authority: str, way: Way) -> tuple[fs.FileSystem, str]:
    if scheme in _WEB:
        raise UnsupportedScheme(f"{scheme}:// is not read from; copy the files to a file system first")
    url = f"{scheme}://{quote(authority, safe='@:.-_$')}/"
    if way.by_spark:
        raise SparkAlone(f"{url} is opened by Spark alone")
    try:
        return (way.open_s3(), authority) if way.s3 is not None else fs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # not one of pyarrow's own: fsspec may know it
    except OSError as error:
        raise UserError(f"{url} cannot be opened: {first_line(error)}") from error
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        hint = f"pip install fsspec and its package for {scheme}"
        raise UnsupportedScheme(f"{scheme}:// needs a library that opens it: {hint}") from error
    try:
        opened, root = url_to_fs(url)
    except (ImportError, ValueError) as error:  # fsspec names the package to install
        raise UnsupportedScheme(f"{scheme}:// cannot be opened: {first_line(error)}") from error
    except Exception as error:  # each backend raises its own kinds
        raise UserError(f"{url} cannot be opened: {first_line(error)}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(opened)), root


def exists(uri: str) -> bool:
    opened, path = open_fs(uri)
    return opened.get_file_info(path).type != fs.FileType.NotFound


def is_link(uri: str) -> bool:
    """Whether a local name is a link to something else."""
    return is_local(uri) and Path(split_uri(uri)[2]).is_symlink()


def is_file(uri: str) -> bool:
    opened, path = open_fs(uri)
    return bool(opened.get_file_info(path).is_file)


def is_empty_or_missing(uri: str) -> bool:
    """Whether an output may go there: nothing there, or a folder with nothing in it."""
    opened, path = open_fs(uri)
    kind = opened.get_file_info(path).type
    if kind == fs.FileType.Directory:
        return not opened.get_file_info(fs.FileSelector(path))
    return kind == fs.FileType.NotFound


def list_files(uri: str, recursive: bool = False) -> list[str]:
    """Plain URIs of the files in a folder, by name; none if the folder is missing."""
    return [join(uri, name) for name in sorted(_files_below(uri, recursive))]


def list_names(uri: str) -> list[str]:
    """The names of what lies in a folder, folders included; none if it is missing."""
    opened, path = open_fs(uri)
    infos = opened.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(info.path.rstrip("/").rpartition("/")[2] for info in infos)


def list_states(uri: str) -> list[tuple[str, int, int]]:
    """A file, or the files in a folder and all below it: relative path, bytes, nanoseconds since 1970 or 0."""
    opened, path = open_fs(uri)
    info = opened.get_file_info(path)
    files = {"": info} if info.is_file else _files_below(uri, recursive=True)
    return sorted((name, one.size or 0, one.mtime_ns or 0) for name, one in files.items())


def list_changes(uri: str) -> list[tuple[str, float]]:
    """The files in a folder and all below it, by path relative to it, and when each was last changed (seconds since
    1970; infinity where the file system does not say)."""
    return [(name, (info.mtime_ns or math.inf) / 1e9) for name, info in _files_below(uri, recursive=True).items()]


def _files_below(uri: str, recursive: bool) -> dict[str, fs.FileInfo]:
    """The files in a folder, by path relative to it; none if it is missing."""
    opened, path = open_fs(uri)
    infos = opened.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=recursive))
    return {info.path[len(path) :].lstrip("/"): info for info in infos if info.is_file}


def delete(uri: str) -> None:
    """Removes a file, or a folder with all that is in it, or a link and not what it leads to; missing is fine."""
    opened, path = open_fs(uri)
    if not split_uri(uri)[2].strip("/"):
        raise UserError(f"{uri} is a whole file system and is not deleted")
    with saying_where(uri):
        if is_link(uri):
            Path(path).unlink()
            return
        kind = opened.get_file_info(path).type
        if kind == fs.FileType.Directory:
            opened.delete_dir(path)
        elif kind != fs.FileType.NotFound:
            opened.delete_file(path)


def move_files(source: str, target: str) -> None:
    """Moves a file, or all files below a folder to the same names below another one, replacing those there; missing is
    fine."""
    opened, start = open_fs(source)
    _, end = open_fs(target)
    kind = opened.get_file_info(start).type
    # A folder as one asks for no list of what is in it, which may come late.
    whole = split_uri(source)[0] in _RENAMING and not exists(target)
    if kind == fs.FileType.File or (whole and kind == fs.FileType.Directory):
        with saying_where(target):
            opened.create_dir(end.rpartition("/")[0] or "/", recursive=True)
            _replace(opened, start, end)
        return
    names = sorted(_files_below(source, recursive=True))
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        opened.create_dir(f"{end}/{folder}".rstrip("/"), recursive=True)

    # An object store copies to move, which takes a while for each file and is nothing to wait for one by one.
    with saying_where(target), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: _replace(opened, f"{start}/{name}", f"{end}/{name}"), names))


def _replace(opened: fs.FileSystem, source: str, target: str) -> None:
    if opened.get_file_info(target).type == fs.FileType.File:
        opened.delete_file(target)  # HDFS does not rename onto a file
    opened.move(source, target)


def read_text(uri: str) -> str:
    opened, path = open_fs(uri)
    with saying_where(uri), opened.open_input_stream(path, compression=None) as stream:
        return stream.read().decode("utf-8")


def read_head(uri: str, size: int = 64) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        opened, path = open_fs(uri)
        with opened.open_input_stream(path, compression=None) as stream:
            return bytes(stream.read(size))
    except OSError:
        return b""


def write_text(uri: str, text: str) -> None:
    """Writes one whole file."""
    with open_output(uri) as stream:
        stream.write(text.encode("utf-8"))


@contextmanager
def open_output(uri: str) -> Iterator[pa.NativeFile]:
    """A binary stream whose file appears under its name, or replaces the one there, when the block ends well.

    An exception inside leaves nothing behind. Temporary names start with a dot, which Spark's readers skip,
    and are unique, so several attempts at the same file do not meet.
    """
    opened, path = open_fs(uri)
    scheme = split_uri(uri)[0]
    folder, _, name = path.rpartition("/")
    if scheme not in _RENAMING:
        # Closing an object's stream publishes it, even after an exception: so the file is made here first.
        with tempfile.TemporaryDirectory(prefix="imgdedup-") as scratch:
            made = f"{scratch}/{name}"
            with saying_where(made, FULL), pa.OSFile(made, "wb") as stream:
                yield stream
            with saying_where(uri):
                fs.copy_files(made, path, source_filesystem=_local(), destination_filesystem=opened)
        return
    temporary = f"{folder}/.{uuid.uuid4().hex}.tmp"
    try:
        with saying_where(uri):
            opened.create_dir(folder or "/", recursive=True)
            target = opened.open_output_stream(temporary, compression=None)
        # What else goes wrong inside may be about another file, which is being read.
        with saying_where(uri, FULL), target as stream:
            yield stream
        with saying_where(uri):
            if scheme == "file":
                Path(temporary).replace(path)
            else:
                _replace(opened, temporary, path)
    except BaseException:
        if opened.get_file_info(temporary).type == fs.FileType.File:
            opened.delete_file(temporary)
        raise
