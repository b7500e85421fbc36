"""What several runs at a time do in one folder: of those who create a file, one has created it."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from imgdedup_spark.files import storage

#: Where a file system has neither links nor a rename that refuses to replace, two that create a file may cross: after
#: this many seconds the later one has won, and the earlier one finds that out by reading back.
SETTLE_SECONDS = 2.0
#: What file systems say that know no hard links.
_NO_LINKS = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)
#: Other ways to create a file unless it is there: whether they did, or None where they know no such way.
_creators: list[Callable[[str, bytes], bool | None]] = []


def also_create_with(creator: Callable[[str, bytes], bool | None]) -> None:
    """Lets object stores be asked, by ``creator``, to refuse what is there already."""
    if creator not in _creators:
        _creators.append(creator)


def create_exclusively(uri: str, text: str) -> bool:
    """Creates a file, with all that is in it, unless it is there; whether this call did.

    Args:
        text: unlike what anybody else would write there.
    """
    if storage.exists(uri):
        return False
    created = _create_once(uri, text)
    if created is not None:
        return created
    storage.write_text(uri, text)
    time.sleep(SETTLE_SECONDS)
    return storage.read_text(uri) == text


def one_wins(folder: str) -> bool:
    """Whether of several that create a file in a folder at the same moment one has created it, for sure. A file is
    written there for it, and deleted."""
    probe = f"{folder}/.probe-{uuid.uuid4().hex}"
    try:
        return _create_once(probe, probe) is not None
    finally:
        storage.delete(probe)


def _create_once(uri: str, text: str) -> bool | None:
    """As ``create_exclusively``; None where nothing there decides who was first."""
    opened, path = storage.open_fs(uri)
    scheme = storage.split_uri(uri)[0]
    folder, _, name = uri.rpartition("/")
    draft = f"{folder}/.{name}.{uuid.uuid4().hex}"
    if scheme == "file":
        made = Path(storage.open_fs(draft)[1])
        try:
            storage.write_text(draft, text)
            return _linked(made, path)
        except FileNotFoundError:  # somebody has just cleared up behind themselves
            return False
        finally:
            made.unlink(missing_ok=True)
    elif scheme in ("hdfs", "viewfs"):
        storage.write_text(draft, text)
        try:
            opened.move(storage.open_fs(draft)[1], path)  # HDFS does not rename onto a file
        except OSError:
            storage.delete(draft)
            return False
        return storage.read_text(uri) == text
    answers = (creator(uri, text.encode("utf-8")) for creator in _creators)
    return next((one for one in answers if one is not None), None)


def _linked(made: Path, path: str) -> bool | None:
    """Gives a file its name, at once and whole, unless it is taken; None where the file system has no links."""
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _NO_LINKS:
            return None
        raise
    return True


def delete_empty(uri: str) -> None:
    """Removes a folder if nothing is in it; missing is fine."""
    opened, path = storage.open_fs(uri)
    if storage.is_local(uri):
        with suppress(OSError):
            Path(path).rmdir()  # refuses what has come to lie there meanwhile
    elif opened.get_file_info(path).type == fs.FileType.Directory and storage.is_empty_or_missing(uri):
        opened.delete_dir(path)
