"""A zip file of this package (``--py-files``), unpacked once for each machine.

From a zip file Python compiles every module anew in every process, and Numba every kernel: machine code is kept beside
a module's file, and Spark gives each run's zip file another path. So the modules come from a folder of the user's,
which is named by what is in the zip file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from imgdedup_spark.caches import own_folder, unused

_PREFIX = "package-"


def unpacked(archive: str, package: str) -> str | None:
    """The folder of a package's modules; None where there is no place for it that is this user's alone.

    Args:
        archive: a zip file that has the package at its top.
    """
    base = own_folder()
    with suppress(OSError, zipfile.BadZipFile):
        if base is not None:
            return str(_unpack(archive, package, base) / package)
    return None


def _unpack(archive: str, package: str, base: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        members = [one for one in zipped.infolist() if one.filename.startswith(f"{package}/") and not one.is_dir()]
        content = "\n".join(sorted(f"{one.filename} {one.file_size} {one.CRC}" for one in members))
        folder = base / f"{_PREFIX}{hashlib.blake2b(content.encode(), digest_size=12).hexdigest()}"
        if _is_whole(folder, members):
            os.utime(folder)
            return folder
        draft = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        try:
            zipped.extractall(draft / "new", members)
            if not _is_whole(folder, members):  # nor made by another process meanwhile, which imports from it
                with suppress(OSError):  # what has lost files
                    folder.rename(draft / "old")
                (draft / "new").rename(folder)
        except OSError:
            if not _is_whole(folder, members):  # another process was first
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    for old in unused(base, f"{_PREFIX}*"):
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _is_whole(folder: Path, members: Sequence[zipfile.ZipInfo]) -> bool:
    """Folders for temporary files are cleaned file by file."""
    try:
        return all((folder / one.filename).stat().st_size == one.file_size for one in members)
    except OSError:
        return False
