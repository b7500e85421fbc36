"""Pictures are decoded in a process beside the Spark worker, so that one that kills its decoder costs one row.

The helper is forked once in the life of a worker and lives as long. Bytes reach it through shared memory, prints come
back through a pipe; it notes which picture is in hand (``kernels/pictures/watch.py``). If it dies, that picture is
refused from then on, the batch is hashed anew by another helper, and the worker, which Spark would not bring back
where ``spark.task.maxFailures`` is 1, has noticed nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import multiprocessing
import os
import pickle
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from typing import Any

from imgdedup_spark.errors import ImageError, JobError, one_line
from imgdedup_spark.hash.faults import PictureHasher, whole_picture
from imgdedup_spark.hash.freed import give_freed_memory_back, keep_freed_memory
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.trouble import Bytes, formats, meant_format
from imgdedup_spark.kernels.pictures.watch import NOTE_BYTES, place_in_hand, watch

__all__ = ["DEFAULT_SECONDS", "Isolated"]
#: A photograph takes a few milliseconds, the largest allowed picture of the slowest format some ten seconds.
DEFAULT_SECONDS = 30.0
#: Shared memory that a helper keeps: the worker reads pictures in portions of as much.
_SHARED_BYTES = 32 << 20
#: That a helper whose end of the pipe is closed may take to be gone.
_DYING_SECONDS = 5
#: Without work, after which a helper keeps no more memory than it needs: the worker copies rows next, say.
_IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class Death:
    """How a helper ended.

    Attributes:
        place: of the picture that it had in hand, if any.
        status: as of ``multiprocessing.Process.exitcode``: what it exited with, or minus the signal that ended it.
    """

    place: int | None
    status: int

    @property
    def by_time(self) -> bool:
        return self.place is not None and self.status == -signal.SIGALRM

    def __str__(self) -> str:
        if self.status >= 0:
            return f"exited with status {self.status}"
        name = signal.Signals(-self.status).name
        return f"was ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


class Isolated:
    """A hasher in the place of another, which works in a helper. Where processes cannot be forked, it works here.

    Args:
        seconds: that one picture may take.
    """

    def __init__(self, hasher: PictureHasher, seconds: float = DEFAULT_SECONDS) -> None:
        self.hasher, self.seconds = hasher, seconds

    def hash_batch(self, pictures: Sequence[Bytes]) -> Any:
        """``hasher.hash_batch``, in which pictures that kill or never end are ``crashed`` or ``timeout``.

        Raises:
            JobError: the helper dies, and of no picture.
        """
        if not hasattr(os, "fork"):
            return self.hasher.hash_batch(pictures)
        helper, work = _helper(), pickle.dumps(self.hasher)
        refused, again = helper.known(work, self.seconds, pictures), False
        while isinstance(answer := helper.hash(work, pictures, self.seconds, refused), Death):
            self._load(helper, work)
            guilty = self._guilty(helper, work, pictures, refused, answer)
            if not guilty:
                if not again:  # somebody else may have ended it: the system, for want of memory
                    again = True
                    continue
                if answer.place is None:
                    raise JobError(f"the process that decodes pictures {answer}, and it was at no picture")
                guilty = {answer.place: self._error(pictures[answer.place], answer)}
            helper.remember(pictures, guilty)
            refused = {**refused, **guilty}
        return answer

    def _load(self, helper: Helper, work: bytes) -> None:
        """Has what hashes take loaded here, so that helpers forked from now on have it; once a helper has shown that
        doing so kills nothing. A model does not live through a fork."""
        if work not in helper.loaded and isinstance(self.hasher, Hasher):
            helper.loaded.add(work)
            if not isinstance(helper.hash(work, [whole_picture()], self.seconds, {}), Death):
                helper.stop()
                self.hasher.hash_batch([whole_picture()])

    def _guilty(
        self, helper: Helper, work: bytes, pictures: Sequence[Bytes], refused: Mapping[int, ImageError], death: Death
    ) -> dict[int, ImageError]:
        """The pictures that a helper has died of, one in most cases: memory that one has spoilt kills a later one.
        Empty if no picture kills one alone."""

        def alone(place: int) -> dict[int, ImageError]:
            helper.stop()
            one = helper.hash(work, [pictures[place]], self.seconds, {})
            return {place: self._error(pictures[place], one)} if isinstance(one, Death) else {}

        suspect = death.place
        if suspect is not None:
            guilty = {suspect: self._error(pictures[suspect], death)} if death.by_time else alone(suspect)
            if guilty:
                return guilty
        others = (place for place in range(len(pictures)) if place not in refused and place != suspect)
        return {place: error for one in others for place, error in alone(one).items()}

    def _error(self, picture: Bytes, death: Death) -> ImageError:
        name = meant_format(picture) or "picture"
        if death.by_time:
            return ImageError("timeout", f"{name}: not decoded in {self.seconds:g} s (--image-timeout)")
        return ImageError("crashed", f"{name}: the process that decodes it {death}")


class Helper:
    """The process that decodes, seen from the one that waits. Starts when it is needed, and again after each death."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._memory = mmap.mmap(-1, NOTE_BYTES + _SHARED_BYTES)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._work = b""
        self.loaded: set[bytes] = set()  # work whose code this process has
        self._killers: dict[tuple[int, bytes], ImageError] = {}
        self._killers_of = (b"", 0.0)

    def hash(
        self, work: bytes, pictures: Sequence[Bytes], seconds: float, refused: Mapping[int, ImageError]
    ) -> Any | Death:
        """Prints of pictures, or how it ended.

        Args:
            work: a pickled hasher.

        Raises:
            Exception: whatever the hasher raised.
        """
        sizes = [len(one) for one in pictures]
        self._make_room(sum(sizes))
        if self._process is None:
            self._start()
        assert self._pipe is not None
        place = NOTE_BYTES
        for size, picture in zip(sizes, pictures, strict=True):
            self._memory[place : place + size] = picture
            place += size
        try:
            self._pipe.send((None if work == self._work else work, sizes, seconds, refused))
            self._work = work
            well, answer = self._pipe.recv()
        except (EOFError, OSError):
            return self._buried()
        finally:
            self._give_back(sum(sizes))
        if not well:
            raise answer
        return answer

    def stop(self) -> None:
        """Ends it; the next one knows nothing of what it has done."""
        if self._process is not None:
            self._process.kill()
            self._buried()

    def known(self, work: bytes, seconds: float, pictures: Sequence[Bytes]) -> dict[int, ImageError]:
        """Those that have killed a helper of this process before, by place. Other work may do with them."""
        if self._killers_of != (work, seconds):
            self._killers, self._killers_of = {}, (work, seconds)
        lengths = {length for length, _ in self._killers}
        suspects = (place for place, one in enumerate(pictures) if len(one) in lengths)
        keys = {place: _key(pictures[place]) for place in suspects}
        return {place: self._killers[key] for place, key in keys.items() if key in self._killers}

    def remember(self, pictures: Sequence[Bytes], killers: Mapping[int, ImageError]) -> None:
        self._killers.update({_key(pictures[place]): error for place, error in killers.items()})

    def _make_room(self, size: int) -> None:
        if NOTE_BYTES + size > len(self._memory):
            self.stop()
            self._memory.close()
            self._memory = mmap.mmap(-1, NOTE_BYTES + size)

    def _give_back(self, size: int) -> None:
        """One large picture is no reason to keep its memory for good."""
        if size > _SHARED_BYTES and hasattr(mmap, "MADV_REMOVE"):
            kept = _SHARED_BYTES  # a multiple of the pages' size, as it must be
            self._memory.madvise(mmap.MADV_REMOVE, kept, len(self._memory) - kept)

    def _start(self) -> None:
        formats()  # loads Pillow's plugins, here and once
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_decode, args=(there, self._memory), daemon=True)
        self._process.start()
        there.close()
        self._pipe, self._work = here, b""

    def _buried(self) -> Death:
        assert self._process is not None and self._pipe is not None
        self._pipe.close()
        self._process.join(_DYING_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        status = self._process.exitcode
        self._process = self._pipe = None
        return Death(place_in_hand(self._memory), status or 0)


def _key(picture: Bytes) -> tuple[int, bytes]:
    return len(picture), hashlib.blake2b(picture, digest_size=16).digest()


_mine: Helper | None = None


def _helper() -> Helper:
    """This process's."""
    global _mine
    if _mine is None or _mine.owner != os.getpid():
        _mine = Helper()
    return _mine


def _decode(pipe: Connection, memory: mmap.mmap) -> None:
    """The life of a helper: until the other end of the pipe is closed, also by the other process's death."""
    _settle(pipe)
    hasher: PictureHasher | None = None
    with contextlib.suppress(EOFError):
        while True:
            if not pipe.poll(_IDLE_SECONDS):
                give_freed_memory_back()
            work, sizes, seconds, refused = pipe.recv()
            try:
                hasher = pickle.loads(work) if work is not None else hasher
                assert hasher is not None
                with watch(memory, seconds, refused):
                    answer = True, hasher.hash_batch(_slices(memory, sizes))
            except Exception as error:
                answer = False, _as_sent(error)
            pipe.send(answer)


def _slices(memory: mmap.mmap, sizes: Sequence[int]) -> list[memoryview]:
    view, place, slices = memoryview(memory).toreadonly(), NOTE_BYTES, []
    for size in sizes:
        slices.append(view[place : place + size])
        place += size
    return slices


def _settle(pipe: Connection) -> None:
    """Makes the fork a process of its own: what a decoder prints, catches or leaves behind stays in it."""
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker's, which ends this one by closing the pipe
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    # The worker's connection to Spark among them: it must end when the worker does.
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)
    keep_freed_memory()


def _as_sent(error: Exception) -> Exception:
    """An exception that arrives: with its traceback as text, and whatever it holds on to."""
    with contextlib.suppress(Exception):
        sent = ExceptionWithTraceback(error, error.__traceback__)
        pickle.loads(pickle.dumps(sent))
        return sent
    return RuntimeError(f"{type(error).__name__}: {one_line(error)}")
