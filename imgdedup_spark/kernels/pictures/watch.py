"""The picture in hand: what a process that decodes tells the one that waits for it, and the bounds that it decodes
within.

Only a process that may die of its pictures is watched (``hash/isolated.py``); elsewhere nothing here does anything.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import struct
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from imgdedup_spark.errors import ImageError

__all__ = ["NOTE_BYTES", "Watch", "at_large", "expect", "in_hand", "is_watched", "place_in_hand", "watch"]
_NOTE = struct.Struct("<q")
#: What the note takes at the start of the shared memory.
NOTE_BYTES = 64
_NONE = 0  # places are noted from 1 on, so that fresh memory names none
#: Bytes that any picture may take: decoders' tables and buffers, and what up to some 50 megapixels take. Larger ones
#: say so in their header (``expect``).
_SPARE = 384 << 20
#: Of the decoded size, for what is made of it: turned, laid on a ground, in grey.
_COPIES = 4
_STATM = Path("/proc/self/statm")
_STATM_DATA = 5  # its field of private memory that can be written, in pages


class Watch:
    """Bounds of time and memory around each picture, and a note of which one it is.

    Args:
        note: memory shared with the process that waits.
        seconds: that a picture may take; then the process ends by SIGALRM, whatever the decoder is doing.
        refused: place of a picture that is not to be decoded → why.
    """

    def __init__(self, note: mmap.mmap, seconds: float, refused: Mapping[int, ImageError]) -> None:
        self._note, self._seconds, self._refused = note, seconds, refused
        self._statm = os.open(_STATM, os.O_RDONLY) if _STATM.exists() else None
        self._place, self._wide = 0, False
        self._hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        self.tighten()

    def close(self) -> None:
        """Nothing is in hand any more."""
        self.loosen()
        _NOTE.pack_into(self._note, 0, _NONE)
        if self._statm is not None:
            os.close(self._statm)

    def tighten(self) -> None:
        """Bounds the memory that may be taken from now on."""
        if self._statm is not None:
            pages = int(os.pread(self._statm, 200, 0).split()[_STATM_DATA])
            self._room = pages * mmap.PAGESIZE + _SPARE
            self._limit(self._room)

    def loosen(self) -> None:
        self._limit(self._hard)

    def over(self, place: int) -> Watch:
        """Before the picture at this place.

        Raises:
            ImageError: it is one of those refused.
        """
        if place in self._refused:
            raise self._refused[place]
        self._place = place
        return self

    def __enter__(self) -> None:
        _NOTE.pack_into(self._note, 0, self._place + 1)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._wide:
            self._limit(self._room)
            self._wide = False
        _NOTE.pack_into(self._note, 0, _NONE)

    def expect(self, size: int) -> None:
        if self._statm is not None and size * _COPIES > _SPARE:
            self._limit(self._room + size * _COPIES)
            self._wide = True

    def _limit(self, size: int) -> None:
        if self._statm is not None:
            # Of data alone: decoders with threads reserve far more addresses than they use.
            soft = size if self._hard == resource.RLIM_INFINITY else min(size, self._hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, self._hard))


_watch: Watch | None = None
_NO_WATCH: AbstractContextManager[Any] = nullcontext()


@contextmanager
def watch(note: mmap.mmap, seconds: float, refused: Mapping[int, ImageError]) -> Iterator[None]:
    """Watches over what is ``in_hand`` in the body. See `Watch`."""
    global _watch
    _watch = Watch(note, seconds, refused)
    try:
        yield
    finally:
        _watch.close()
        _watch = None


def in_hand(place: int) -> AbstractContextManager[Any]:
    """The body decodes the picture at this place of its batch.

    Raises:
        ImageError: the process is watched, and the picture is refused.
    """
    return _NO_WATCH if _watch is None else _watch.over(place)


@contextmanager
def at_large() -> Iterator[None]:
    """The body is no decoder's: a model that looks at many pictures together takes the memory that it needs."""
    if _watch is None:
        yield
        return
    _watch.loosen()
    try:
        yield
    finally:
        _watch.tighten()


def expect(size: int) -> None:
    """Makes room for a picture of so many bytes, decoded, which its header states and which are allowed."""
    if _watch is not None:
        _watch.expect(size)


def is_watched() -> bool:
    """Whether this process exists to decode pictures, within bounds."""
    return _watch is not None


def place_in_hand(note: mmap.mmap) -> int | None:
    """The picture that a process was decoding when it was last heard of; forgotten once it is asked for."""
    place = int(_NOTE.unpack_from(note, 0)[0])
    _NOTE.pack_into(note, 0, _NONE)
    return None if place == _NONE else place - 1
