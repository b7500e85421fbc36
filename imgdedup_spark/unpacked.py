"""A zip file of this package (``--py-files``), unpacked once for each machine.

From a zip file Python compiles every module anew in every process, and Numba every kernel: machine code is kept beside
a module's file, and Spark gives each run's zip file another path. So the modules come from a folder of the user's,
which is named by what is in the zip file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "package-"
#: Of versions that nobody starts any more.
_UNUSED_SECONDS = 60 * 86_400


def unpacked(archive: str, package: str) -> str | None:
    """The folder of a package's modules; None where there is no place for it that is this user's alone.

    Args:
        archive: a zip file that has the package at its top.
    """
    for parent in (os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", tempfile.gettempdir()):
        try:
            base = Path(parent) / (f"imgdedup-{os.getuid()}" if str(parent) == tempfile.gettempdir() else "imgdedup")
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_mine(base):
                return str(_unpack(archive, package, base) / package)
        except (OSError, RuntimeError, AttributeError, zipfile.BadZipFile):
            continue  # no home, no rights, no space, or no system with users
    return None


def _is_mine(folder: Path) -> bool:
    """Whether nobody else can have put code there."""
    found = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & others


def _unpack(archive: str, package: str, base: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        members = [one for one in zipped.infolist() if one.filename.startswith(f"{package}/") and not one.is_dir()]
        content = "\n".join(sorted(f"{one.filename} {one.file_size} {one.CRC}" for one in members))
        folder = base / f"{_PREFIX}{hashlib.blake2b(content.encode(), digest_size=12).hexdigest()}"
        if folder.is_dir():
            os.utime(folder)  # it is in use
            return folder
        draft = tempfile.mkdtemp(dir=base)
        try:
            zipped.extractall(draft, members)
            Path(draft).rename(folder)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not folder.is_dir():  # another process was first
                raise
    for old in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _UNUSED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    return folder
