"""Pictures named by path: which paths are allowed, and how they are opened."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from imgdedup_spark.errors import ImageError, JobError, UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.regular import NotRegular
from imgdedup_spark.kernels.pictures.forms import LONGEST_PATH

# What URLs in the data may name. A root of another scheme can be given, but no row can ask for one by itself.
SCHEMES = {"file", "s3", "gs", "hdfs", "viewfs", "abfs", "abfss"}
# Arrow's 32-bit binary arrays, and so Spark's, hold no more in one value.
_LARGEST_FILE = 2**31 - 1
# Messages show this many characters of a path.
_SHOWN = 200
# The second form is Hadoop's (`file:/x`); one letter before it is no scheme.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True)
class PathRules:
    """Which files the image column may name.

    Attributes:
        roots: for each input the folder (plain path or URL) where its relative paths start and must stay.
        explicit: the root was given by ``--image-root``: absolute paths and URLs must lie in it too. Else they must
            lie on its file system: a row is somebody else's text, and opens no other store with the user's keys.
        stores: what rows may name besides, plain paths and URLs: a folder or file with all below it, or, as
            ``s3://``, all of a scheme.
    """

    roots: tuple[str, ...]
    explicit: bool
    stores: tuple[str, ...] = ()

    def knows(self, scheme: str, root: str) -> bool:
        """Whether any file of this scheme may be named."""
        return scheme in SCHEMES or any(storage.split_uri(one)[0] == scheme for one in (root, *self.stores))

    def check_url(self, shown: str, url: str, root: str) -> None:
        """Raises:
        ImageError: ``forbidden_path``; the URL is no local file's.
        """
        if not any(_covers(store, url) for store in self.stores):
            if self.explicit and not _covers(root, url):
                raise forbidden(shown)
            if not self.explicit and storage.split_uri(url)[:2] != storage.split_uri(root)[:2]:
                raise _foreign(shown)

    def find_local(self, shown: str, path: str, root: str, *, relative: bool) -> FileSource:
        """A local file that a row names.

        Args:
            path: absolute.
            relative: whether the row's path began at ``root``.

        Raises:
            ImageError: it is forbidden, or no file.
        """
        folders = [storage.absolute(one) for one in self.stores if storage.is_local(one)]
        if storage.is_local(root):
            free = not (self.explicit or relative)
            return local_file(shown, path, None if free else [storage.absolute(root), *folders])
        if not folders and not self.explicit:
            raise _foreign(shown)
        return local_file(shown, path, folders)


@dataclass(frozen=True)
class FileSource:
    shown: str
    opened: fs.FileSystem | None  # None: a local file, by its real path
    path: str
    size: int
    start: int | None = None  # a stretch of a file, named by ``shown``, which ``files.tar`` reads
    store: str = ""  # a URI there, of all but local files


def _covers(prefix: str, url: str) -> bool:
    """Whether a URL names the place of a prefix, or one below it."""
    scheme, authority, path = storage.split_uri(url)
    if prefix.endswith("://"):
        return storage.split_uri(prefix)[0] == scheme
    *store, folder = storage.split_uri(prefix)
    return [scheme, authority] == store and _within(posixpath.normpath(path), posixpath.normpath(folder))


def local_file(shown: str, path: str, folders: Sequence[str] | None) -> FileSource:
    """A local file by its real path, inside one of the folders if they are given.

    Looked up without being opened: opening a pipe waits for its writer, and some devices never end.
    """
    _check_text(shown, path)
    real = os.path.realpath(path)
    if folders is not None and not any(_within(real, os.path.realpath(folder)) for folder in folders):
        raise forbidden(shown)
    try:
        status = Path(real).stat()
    except OSError as error:
        raise os_error(shown, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not_a_file", f"{shortened(shown)}: not a regular file")
    return FileSource(shown, None, real, status.st_size)


def remote_file(shown: str, opened: fs.FileSystem, path: str, root: str | None) -> FileSource:
    """A file of another file system, inside ``root`` (a path there) if one is given."""
    _check_text(shown, path)
    path = posixpath.normpath(path)
    if root is not None and not _within(path, posixpath.normpath(root)):
        raise forbidden(shown)
    try:
        info = opened.get_file_info(path)
    except Exception as error:  # every library behind a file system raises kinds of its own
        raise storage_error(shown, error) from error
    if info.type == fs.FileType.NotFound:
        raise ImageError("not_found", f"{shortened(shown)}: no such file")
    if info.type != fs.FileType.File:
        raise ImageError("not_a_file", f"{shortened(shown)}: not a regular file")
    return FileSource(shown, opened, path, info.size or 0)


def _check_text(shown: str, path: str) -> None:
    if "\0" in path or len(os.fsencode(path)) > LONGEST_PATH:
        raise ImageError("not_found", f"{shortened(shown)}: no such file (not a possible path)")


def sized(file: FileSource) -> FileSource:
    """Raises:
    ImageError: ``too_large``; no column of Arrow's would hold it.
    """
    if file.size > _LARGEST_FILE:
        raise ImageError("too_large", f"{shortened(file.shown)}: {file.size} bytes; the most is {_LARGEST_FILE}")
    return file


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def open_file_system(shown: str, uri: str) -> tuple[fs.FileSystem, str]:
    try:
        return storage.open_fs(uri)
    except storage.SparkAlone as error:
        # So it is with every picture there: no fault of this one's.
        raise JobError(
            f"{shortened(shown)}: rows name pictures on a store that Spark alone opens, and its workers have no way to "
            f"it (docs/storage.md): {first_line(error)}"
        ) from error
    except storage.UnsupportedScheme as error:
        raise ImageError("unsupported_url", f"{shortened(shown)}: nothing installed opens this URL") from error
    except UserError as error:
        raise ImageError("unreadable", f"{shortened(shown)}: its file system cannot be opened") from error


def shortened(shown: str) -> str:
    """A path as the user wrote it, on one line of bounded length."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown[:_SHOWN])
    return line if len(shown) <= _SHOWN else line + "…"


def forbidden(shown: str) -> ImageError:
    return ImageError(
        "forbidden_path", f"{shortened(shown)}: outside the image root; --allow-store PREFIX permits more"
    )


def _foreign(shown: str) -> ImageError:
    return ImageError(
        "forbidden_path", f"{shortened(shown)}: not on the input's own file system; --allow-store PREFIX permits more"
    )


def os_error(shown: str, error: OSError) -> ImageError:
    if isinstance(error, NotRegular):
        return ImageError("not_a_file", f"{shortened(shown)}: not a regular file")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return ImageError("not_found", f"{shortened(shown)}: no such file")
    if error.errno == errno.ELOOP:
        return ImageError("not_found", f"{shortened(shown)}: a symbolic link that leads nowhere")
    reason = os.strerror(error.errno) if error.errno else "the storage failed"
    return ImageError("unreadable", f"{shortened(shown)}: {reason}")


def storage_error(shown: str, error: Exception) -> ImageError:
    """Request numbers and the like in remote messages differ from run to run: only the kind is told."""
    if isinstance(error, NotRegular) or (isinstance(error, OSError) and error.errno):
        return os_error(shown, error)
    return ImageError("unreadable", f"{shortened(shown)}: the storage failed ({type(error).__name__})")
