"""Parts of tar archives, which rows name by where they begin."""

from __future__ import annotations

import os
from functools import lru_cache

from imgdedup_spark.files import access
from imgdedup_spark.files.tar import Archive, Broken


@lru_cache(maxsize=2)
def _kept_open(uri: str, real: str | None, state: tuple[int, ...]) -> Archive:
    return Archive(uri, real)


def read_part(uri: str, offset: int, size: int, real: str | None = None) -> bytes:
    """Bytes of a decompressed archive, which stays open: parts that follow each other are read as one stream.

    Args:
        real: see ``Archive``.

    Raises:
        NotRegular: it is no file.
        OSError: it cannot be read, or does not have them.
    """
    archive = _kept_open(uri, real, _state(real))
    try:
        try:
            found = archive.read(offset, size)
        except OSError:
            if real is not None:
                raise
            # A stream to a store may have broken off since it was opened: another one is worth a try.
            _kept_open.cache_clear()
            found = _kept_open(uri, real, _state(real)).read(offset, size)
    except Broken as error:
        raise OSError(f"{uri} {error}") from None
    if len(found) < size:
        raise OSError(f"{uri} has become shorter")
    return found


def _state(real: str | None) -> tuple[int, ...]:
    """Workers outlive jobs: an archive that has changed since is another one, and so is each task's on a store."""
    if real is None:
        return (access.generation(),)
    state = os.lstat(real)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
