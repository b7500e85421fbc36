"""Who is at work in a folder: one run at a time, and a run that was killed is not waited for.

    DIR/lock-00000001.json    which run: its machine, process and last sign of life; the highest number counts

A run holds the folder that has created the file of the next number, which one can do only. It rewrites the file every
few seconds. Whoever comes later looks at it: on the same machine the process is there or not; elsewhere the file is
rewritten or not, which needs no clocks that agree.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from imgdedup_spark.errors import JobError, UserError, one_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.sharing import create_exclusively, delete_empty

log = logging.getLogger("imgdedup")
#: Between signs of life; and without one for so long a run is dead: it may miss a few where a file system is slow.
BEAT_SECONDS, DEAD_SECONDS = 10.0, 60.0
_NAME = re.compile(r"lock-(\d{8,})\.json")
#: Those of this very process, which has one number for all of its runs.
_held: set[str] = set()


class Lock:
    """One run's hold on a folder, for as long as the ``with`` block lasts.

    Raises:
        JobError: (on entering) another run is at work there.
    """

    def __init__(self, folder: str, named: str) -> None:
        """Args:
        named: what an error calls the folder: ``--output out``.
        """
        self._folder, self._named = folder, named
        self._token, self._number = uuid.uuid4().hex, 0
        self._ended = threading.Event()
        # Where a file is replaced in two steps it is missing for a moment, which is no sign of another run.
        self._writing = threading.Lock()
        self._beating = threading.Thread(target=self._beat, name="imgdedup-lock", daemon=True)

    def __enter__(self) -> Lock:
        number = max(_numbers(self._folder), default=0)
        holder = _read(self._uri(number)) if number else None
        if holder is not None and self._lives(number, holder):
            raise JobError(
                f"{self._named}: another run is at work there (process {holder['pid']} on {holder['host']}); "
                "wait for its end or choose another folder"
            )
        _held.add(self._token)
        self._number = number + 1
        if not create_exclusively(self._uri(self._number), self._text()):
            _held.discard(self._token)
            raise JobError(
                f"{self._named}: another run has just begun there; wait for its end or choose another folder"
            )
        self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._beating.join()
        # What cannot be deleted now does no harm: the next run sees that nobody is there.
        try:
            # Our own goes last, with what those who were killed have left.
            for name in filter(is_lock, storage.list_names(self._folder)):
                match = _NAME.fullmatch(name)
                if match is None or int(match[1]) <= self._number:
                    storage.delete(storage.join(self._folder, name))
            delete_empty(self._folder)
        except (OSError, UserError) as error:
            log.info("%s: %s", self._named, one_line(error))
        finally:
            _held.discard(self._token)

    def check(self) -> None:
        """To be called before what cannot be undone.

        Raises:
            JobError: another run holds the folder now, because this one gave no sign of life for too long.
        """
        with self._writing:
            mine = self._is_mine()
        if not mine:
            raise JobError(f"{self._named}: another run has taken the folder over meanwhile; run it again")

    def _uri(self, number: int) -> str:
        return storage.join(self._folder, f"lock-{number:08d}.json")

    def _text(self) -> str:
        me = {"token": self._token, "host": platform.node(), "machine": _machine(), "pid": os.getpid()}
        return json.dumps({**me, "started": _started(os.getpid()), "alive": time.time()}) + "\n"

    def _is_mine(self) -> bool:
        highest = max(_numbers(self._folder), default=0)
        holder = _read(self._uri(highest)) if highest == self._number else None
        return holder is not None and holder["token"] == self._token

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(Exception), self._writing:  # the next one may succeed
                if not self._is_mine():
                    return
                storage.write_text(self._uri(self._number), self._text())

    def _lives(self, number: int, holder: dict[str, Any]) -> bool:
        if holder["machine"] == _machine():
            if holder["pid"] == os.getpid():
                return holder["token"] in _held
            return bool(_started(holder["pid"]) == holder["started"] and _is_there(holder["pid"]))
        log.info(
            "%s: a run of %s was at work there; seeing for up to %d seconds whether it still is",
            self._named,
            holder["host"],
            DEAD_SECONDS,
        )
        until = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, BEAT_SECONDS))
            now = _read(self._uri(number))
            if now is None:  # it has ended, or is just replacing its file
                time.sleep(min(1.0, BEAT_SECONDS))
                now = _read(self._uri(number))
            if now != holder:
                return now is not None
        return False


def is_lock(name: str) -> bool:
    """Whether a file in such a folder is a lock, or on its way to be one."""
    return bool(_NAME.match(name.lstrip("."))) or name.endswith(".tmp")


def _numbers(folder: str) -> list[int]:
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, storage.list_names(folder)) if match)


def _read(uri: str) -> dict[str, Any] | None:
    """None if it is gone. What can be read in part only, on a file system that shows such, is a lock of nobody's that
    is seen to change."""
    try:
        found: dict[str, Any] = json.loads(storage.read_text(uri))
        return found
    except FileNotFoundError:
        return None
    except ValueError:
        return {"token": "", "host": "?", "machine": "?", "pid": "?"}


def _machine(proc: Path = Path("/proc")) -> str:
    """Where a process number means one process: a machine since it was started, and a container on it."""
    names = [platform.node()]
    with suppress(OSError):
        names += [(proc / "sys/kernel/random/boot_id").read_text().strip(), str((proc / "self/ns/pid").readlink())]
    return " ".join(names)


def _started(pid: int) -> str | None:
    """When a process was started, in the system's own words: numbers of processes are used again. None for one that
    has ended, whether somebody has asked for its exit status or not, and where the system does not say."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except (OSError, ValueError, IndexError):
        return None


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True
