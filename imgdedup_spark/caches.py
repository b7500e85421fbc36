"""The folder for what is made once for each machine, code among it."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: What nobody has used for so long belongs to versions that are there no more.
_UNUSED_SECONDS = 60 * 86_400


def own_folder() -> Path | None:
    """Made if it is not there; None where there is no place that is this user's alone."""
    for place in (_in_cache, _in_temporary):
        try:
            folder = place()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_mine(folder):
                return folder
        except (OSError, RuntimeError, AttributeError):
            continue  # no home, no rights, no space, or no system with users
    return None


def unused(folder: Path, pattern: str) -> Iterator[Path]:
    """What may be deleted; what is used is touched by who uses it."""
    for one in folder.glob(pattern):
        try:
            if time.time() - one.lstat().st_mtime > _UNUSED_SECONDS:
                yield one
        except OSError:
            continue  # somebody else has deleted it


def _in_cache() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "imgdedup"


def _in_temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"imgdedup-{os.getuid()}"


def _is_mine(folder: Path) -> bool:
    """Whether nobody else can have put anything there."""
    found = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & others
