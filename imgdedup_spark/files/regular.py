"""Local files that somebody else has named: opened only if they are files."""

from __future__ import annotations

import io
import os
import stat


class NotRegular(OSError):
    """A folder, a pipe or a device."""


def open_regular(path: str) -> io.FileIO:
    """A real path that was checked; swapped since, it is followed through no link, and no pipe is waited for.

    Raises:
        NotRegular: it is no regular file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    stream = open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags))  # noqa: SIM115 - the caller's
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise NotRegular(f"{path}: not a regular file")
    return stream
