"""Errors of file systems, told with the file that they are about."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pyarrow as pa

from imgdedup_spark.errors import first_line

#: What pyarrow raises of a file that is broken; of a footer that is, now and then an error of C++ that has no class, or
#: one of names that are no text.
BROKEN = (pa.ArrowException, OSError, RuntimeError, UnicodeDecodeError)
#: What a disk says that takes no more.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def saying_where(uri: str, codes: Collection[int] = ()) -> Iterator[None]:
    """OSErrors that leave it name a file, as Python's own do and pyarrow's do not.

    Args:
        codes: only errors of these numbers; none for all.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or (codes and error.errno not in codes):
            raise
        if error.errno:
            raise OSError(error.errno, os.strerror(error.errno), uri) from error
        if uri not in str(error):
            error.args = (f"{uri}: {first_line(error)}",)
        raise
