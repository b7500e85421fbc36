"""A local file system that fails, delays, lists late, tears writes and fills up: for the driver and for the workers.

What goes wrong is read from the file that ``IMGDEDUP_FAULTS`` names, at every call, so that one session has many runs:
``{"seed": 7, "rate": 0.02}``. Of a call, its process and its place in the run depends what becomes of it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

NAME = "IMGDEDUP_FAULTS"
#: What there are few occasions for.
OFTEN = {"full": 5, "torn": 5, "late": 20}
#: Of a file that a late listing does not know yet.
LATE_SECONDS = 0.2
#: Bytes that fit into a file of a disk that is full.
ROOM = 64


class Plan:
    """What goes wrong, by the file that says so."""

    def __init__(self, path: str) -> None:
        self._path, self._read = Path(path), ""
        self._random, self._rate, self._kinds = random.Random(), 0.0, ("fail",)
        self._is_driver, self._late_at, self._since, self.listings = f"{NAME}_DRIVER" in os.environ, 0, 0.0, 0

    def strikes(self, kind: str) -> bool:
        """Whether this call goes wrong in this way."""
        self._look()
        return kind in self._kinds and self._random.random() < self._rate * OFTEN.get(kind, 1)

    def _look(self) -> None:
        text = self._path.read_text()
        if text != self._read:
            self._read, plan = text, json.loads(text)
            self._random = random.Random(f"{plan['seed']} {self._is_driver}")
            self._rate, self._kinds = plan["rate"], plan["kinds"]
            self._late_at, self._since, self.listings = plan["late_at"], time.time(), 0

    def listed(self, infos: list[fs.FileInfo], folder: str) -> list[fs.FileInfo]:
        """What a listing knows: if it is late not all that is new, or if it is the one that is said to be late, every
        other file that was made since."""
        late = self.strikes("late")
        self.listings += 1
        if self._is_driver and self.listings == self._late_at:
            new = [one for one in infos if one.is_file and (one.mtime_ns or 0) / 1e9 >= self._since]
            known = [one for one in infos if one not in new[::2]]
        elif late:
            known = [one for one in infos if (one.mtime_ns or 0) / 1e9 < time.time() - LATE_SECONDS]
        else:
            return infos
        if len(known) < len(infos):
            self.told("late", folder)
        return known

    def told(self, what: str, path: str) -> None:
        """For whoever counts them."""
        with (self._path.parent / "struck.txt").open("a") as file:
            file.write(f"{what} {path}\n")


class Faulty(fs.FileSystemHandler):
    """The local file system, with what ``Plan`` does to it."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._real = plan, fs.LocalFileSystem()

    def _meet(self, path: str) -> None:
        if self._plan.strikes("delay"):
            self._plan.told("delay", path)
            time.sleep(0.05)
        if self._plan.strikes("fail"):
            self._plan.told("fail", path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def get_type_name(self) -> str:
        return "faulty"

    def normalize_path(self, path: str) -> str:
        return self._real.normalize_path(path)

    def get_file_info(self, paths: list[str]) -> Any:
        self._meet(paths[0])
        return self._real.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        self._meet(selector.base_dir)
        return self._plan.listed(self._real.get_file_info(selector), selector.base_dir)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._meet(path)
        self._real.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._meet(path)
        self._real.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._meet(path)
        self._real.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        self._meet(path)
        self._real.delete_file(path)

    def move(self, source: str, target: str) -> None:
        self._meet(target)
        self._real.move(source, target)

    def copy_file(self, source: str, target: str) -> None:
        self._meet(target)
        self._real.copy_file(source, target)

    def open_input_stream(self, path: str) -> Any:
        self._meet(path)
        return self._real.open_input_stream(path, compression=None)

    def open_input_file(self, path: str) -> Any:
        self._meet(path)
        return self._real.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._meet(path)
        return pa.PythonFile(Writer(path, self._plan), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError


class Writer(io.RawIOBase):
    """A file that may take less than it is given, or lose what it took."""

    def __init__(self, path: str, plan: Plan) -> None:
        self._path, self._plan = path, plan
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed with this one
        self._full, self._torn = plan.strikes("full"), plan.strikes("torn")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._full and self._file.tell() + len(data) > ROOM:
            self._plan.told("full", self._path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        return self._file.write(data)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            size = self._file.tell()
            self._file.close()
            if self._torn and size > 1:
                self._plan.told("torn", self._path)
                os.truncate(self._path, size // 2)
                raise OSError(errno.EIO, os.strerror(errno.EIO), self._path)
        super().close()


def install() -> Plan:
    """Puts it in the place of the local file system of this process, and of the steps that go past it."""
    from imgdedup_spark.files import storage

    plan = Plan(os.environ[NAME])
    faulty = fs.PyFileSystem(Faulty(plan))
    storage._local = lambda: faulty  # type: ignore[assignment]
    real_link, real_replace = os.link, os.replace

    def link(source: Any, target: Any, **options: Any) -> None:
        if plan.strikes("fail"):
            plan.told("fail", str(target))
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))
        real_link(source, target, **options)

    def replace(source: Any, target: Any, **options: Any) -> None:
        if str(source).endswith(".tmp") and plan.strikes("fail"):
            plan.told("fail", str(target))
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))
        real_replace(source, target, **options)

    os.link, os.replace = link, replace
    return plan
