"""Java's streams of Hadoop's file systems as Python's, a block at a time: Py4J copies all that passes."""

from __future__ import annotations

import binascii
import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Bytes that Java hands over at once; it holds them several times. Less is not worth asking for.
BLOCK = 4 << 20


@contextmanager
def as_os_errors(uri: str) -> Iterator[None]:
    """Raises:
    OSError: in the place of Java's and Py4J's own kinds.
    """
    from py4j.protocol import Py4JError

    try:
        yield
    except (Py4JError, binascii.Error) as error:  # the latter of an answer that was cut
        problem = str(getattr(error, "java_exception", error)).splitlines()[0]
        code = errno.ENOENT if "FileNotFoundException" in problem else errno.EIO
        raise OSError(code, problem, uri) from None


class _Stream(io.RawIOBase):
    def __init__(self, uri: str, stream: Any) -> None:
        self._uri, self._stream = uri, stream

    def close(self) -> None:
        if not self.closed:
            super().close()
            with as_os_errors(self._uri):
                self._stream.close()


class HadoopInput(_Stream):
    """A file, read from wherever it is wanted.

    Args:
        uri: for errors.
        stream: an ``FSDataInputStream``.
        size: of the file, in bytes.
    """

    def __init__(self, uri: str, stream: Any, size: int) -> None:
        super().__init__(uri, stream)
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), BLOCK, self._size - self._at))
        if size:
            with as_os_errors(self._uri):
                self._stream.seek(self._at)
                part = self._stream.readNBytes(size)
            # An answer that was cut, of a JVM without memory or of one that has died, looks like a shorter one.
            if len(part) != size:
                raise OSError(errno.EIO, f"{len(part)} of {size} bytes were read at byte {self._at}", self._uri)
            buffer[:size] = part
            self._at += size
        return size


class HadoopOutput(_Stream):
    """A file that is being written.

    Args:
        uri: for errors.
        stream: an ``FSDataOutputStream``.
    """

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        part = bytearray(content[:BLOCK])
        with as_os_errors(self._uri):
            self._stream.write(part)
        return len(part)
