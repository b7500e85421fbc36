"""What lies in an input: every file below a path, once, and what is passed over, counted by reason.

No Spark: names that begin with ``_``, brackets in names, plain sub-folders and links are files and folders like others.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import fs

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage

#: Names of each reason that summary.json shows.
EXAMPLES = 5
_COMPRESSED = frozenset({"gz", "bz2", "zst", "lz4", "snappy", "deflate"})
# What Spark, Hadoop and table formats leave beside their data.
_BOOKKEEPING = re.compile(
    r"_SUCCESS|_(common_)?metadata|_(started|committed)_.*|_temporary|_delta_log|_spark_metadata|_staging|_imgdedup-.*"
)
_MAGIC = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class Listed:
    """One file.

    Attributes:
        uri: plain URI, as the input is written and the file's name below it.
        name: below the folder where names start; the file's own name where the input is a file.
        size: bytes.
        time: of its last change, in milliseconds since 1970.
    """

    uri: str
    name: str
    size: int
    time: int


@dataclass
class PassedOver:
    """What lies in the inputs and is not read: for each reason how many, and some of their names."""

    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        entry = self.reasons.setdefault(reason, {"count": 0, "examples": []})
        entry["count"] += count
        if len(entry["examples"]) < EXAMPLES:
            # A name may hold bytes that are no UTF-8; what is printed and written may not.
            entry["examples"].append(name.encode("utf-8", "backslashreplace").decode())

    def __str__(self) -> str:
        shown = (f"{one['count']:,} {reason} ({', '.join(one['examples'])})" for reason, one in self.reasons.items())
        return "; ".join(shown)


@dataclass
class Walk:
    """Lists inputs one after another, and knows what it has seen.

    Attributes:
        passed: what is passed over.
        count_hard_links: whether a second name of the same file is a file of its own.
    """

    passed: PassedOver = field(default_factory=PassedOver)
    count_hard_links: bool = False
    _seen: dict[Any, str] = field(default_factory=dict)

    def files(self, path: str) -> tuple[str, list[Listed]]:
        """The folder where names start, and the files of an input (a file, a folder or a glob), by name.

        A path that exists as it is written is that path; a glob is what does not.

        Raises:
            UserError: there is nothing, or the file system does not answer.
        """
        path = storage.absolute(path).rstrip("/") or "/"
        if not is_utf8(path):
            shown = path.encode("utf-8", "backslashreplace").decode()
            raise UserError(f"--input {shown}: its name is not UTF-8: rename it, or name the folder that holds it")
        try:
            if storage.exists(path):
                folder, places = path, [path]
            elif _MAGIC.search(path):
                folder = path[: path.rindex("/", 0, _MAGIC.search(path).start())] or "/"  # type: ignore[union-attr]
                places = sorted(_expand(path))
            else:
                places = []
            if not places:
                raise UserError(f"--input {path}: matches no file")
            found: list[Listed] = []
            for place in places:
                if _is_folder(place):
                    found += self._below(place, folder)
                else:
                    folder = place.rpartition("/")[0] or "/" if place == path else folder
                    found += self._file(place, folder)
        except OSError as error:
            raise UserError(f"--input {path}: cannot be listed: {first_line(error)}") from None
        return folder, sorted(found, key=lambda one: one.name)

    def _below(self, place: str, folder: str) -> Iterator[Listed]:
        if storage.is_local(place):
            yield from self._local(place, folder, ())
            return
        opened, inner = storage.open_fs(place)
        for info in opened.get_file_info(fs.FileSelector(inner, recursive=True)):
            below = info.path[len(inner) :].lstrip("/")
            if info.type == fs.FileType.File and not self._is_hidden(below, f"{place}/{below}"):
                yield from self._once(f"{place}/{below}", folder, info.size, (info.mtime_ns or 0) // 1_000_000)

    def _local(self, place: str, folder: str, above: tuple[str, ...]) -> Iterator[Listed]:
        real = os.path.realpath(place)
        if real in above:
            self.passed.add("link_loop", place)
            return
        # Folders that link to each other would be walked in every order.
        if ("folder", real) in self._seen and Path(place).is_symlink():
            self.passed.add("same_folder", place)
            return
        self._seen["folder", real] = place
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            path = f"{place.rstrip('/')}/{name}"
            if self._is_hidden(name, path):
                continue
            if Path(path).is_dir():
                yield from self._local(path, folder, (*above, real))
            else:
                yield from self._file(path, folder)

    def _is_hidden(self, below: str, shown: str) -> bool:
        parts = below.split("/")
        if any(part.startswith(".") for part in parts):
            self.passed.add("hidden", shown)
        elif any(_BOOKKEEPING.fullmatch(part) for part in parts):
            self.passed.add("bookkeeping", shown)
        else:
            return False
        return True

    def _file(self, path: str, folder: str) -> Iterator[Listed]:
        if not storage.is_local(path):
            opened, inner = storage.open_fs(path)
            info = opened.get_file_info(inner)
            yield from self._once(path, folder, info.size, (info.mtime_ns or 0) // 1_000_000)
            return
        try:
            status = Path(path).stat()
        except OSError:
            self.passed.add("broken_link" if Path(path).is_symlink() else "unreadable", path)
            return
        if not stat.S_ISREG(status.st_mode):
            self.passed.add("not_a_file", path)
            return
        real = os.path.realpath(path)
        if ("file", real) in self._seen:
            self.passed.add("same_file", path)
            return
        if status.st_nlink > 1 and not self.count_hard_links:
            inode = (status.st_dev, status.st_ino)
            if self._seen.setdefault(inode, real) != real:
                self.passed.add("hard_link", path)
                return
        yield from self._once(path, folder, status.st_size, status.st_mtime_ns // 1_000_000, real)

    def _once(self, uri: str, folder: str, size: int, time: int, real: str | None = None) -> Iterator[Listed]:
        if ("file", real or uri) in self._seen:
            self.passed.add("same_file", uri)
            return
        self._seen["file", real or uri] = uri
        yield Listed(uri, uri[len(folder.rstrip("/")) + 1 :], size, time)


def is_utf8(name: str) -> bool:
    """Whether a file's name is text; pyarrow and Spark open no other."""
    return name.isascii() or not re.search("[\udc80-\udcff]", name)


def ending_of(name: str) -> str:
    """``a/b.JSONL.gz`` → ``jsonl``; empty without one."""
    parts = name.rpartition("/")[2].lower().split(".")
    if len(parts) > 2 and parts[-1] in _COMPRESSED:
        parts.pop()
    return parts[-1] if len(parts) > 1 else ""


def _expand(pattern: str) -> Iterator[str]:
    """The paths that a glob of Hadoop's matches: ``*``, ``?``, ``[a-c]``, ``[^a]``, ``{a,b}``."""
    first = _MAGIC.search(pattern)
    assert first is not None
    cut = pattern.rindex("/", 0, first.start())
    base, rest = pattern[:cut] or "/", pattern[cut + 1 :]
    # A `{a,b/c}` may hold the border of a folder: alternatives first.
    for one in _alternatives(rest):
        yield from _matches(base, one.split("/"))


def _matches(base: str, parts: Sequence[str]) -> Iterator[str]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if not _MAGIC.search(part):
        if storage.exists(f"{base.rstrip('/')}/{part}"):
            yield from _matches(f"{base.rstrip('/')}/{part}", rest)
        return
    wanted = _regex(part)
    for name, is_folder in _names(base):
        hidden = name.startswith(".") and not part.startswith(".")
        if not hidden and wanted.fullmatch(name) and (not rest or is_folder):
            yield from _matches(f"{base.rstrip('/')}/{name}", rest)


def _names(folder: str) -> Iterator[tuple[str, bool]]:
    """What lies in a folder that may not be there, and which of it are folders."""
    if storage.is_local(folder):
        # pyarrow lists no folder with a name in it that is not UTF-8.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            yield from [(entry.name, entry.is_dir()) for entry in entries]
        return
    opened, inner = storage.open_fs(folder)
    for info in opened.get_file_info(fs.FileSelector(inner, allow_not_found=True)):
        yield info.base_name, info.type == fs.FileType.Directory


def _is_folder(place: str) -> bool:
    if storage.is_local(place):
        return Path(place).is_dir()
    opened, inner = storage.open_fs(place)
    return bool(opened.get_file_info(inner).type == fs.FileType.Directory)


def _alternatives(text: str) -> list[str]:
    """``a{b,c{d,e}}`` → ``ab``, ``acd``, ``ace``; numbers may be ``{000..123}``."""
    match = re.search(r"\{([^{}]*)\}", text)
    if match is None:
        return [text]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    choices = match[1].split(",")
    if numbers:
        width = len(numbers[1])
        choices = [f"{number:0{width}d}" for number in range(int(numbers[1]), int(numbers[2]) + 1)]
    return [found for one in choices for found in _alternatives(text[: match.start()] + one + text[match.end() :])]


def _regex(part: str) -> re.Pattern[str]:
    made, place = "", 0
    while place < len(part):
        one = part[place]
        end = part.find("]", place + 2)
        if one == "[" and end > 0:
            inside = part[place + 1 : end].replace("\\", "\\\\")
            made += "[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]"
            place = end
        elif one == "\\" and place + 1 < len(part):
            place += 1
            made += re.escape(part[place])
        else:
            made += {"*": ".*", "?": "."}.get(one, re.escape(one))
        place += 1
    return re.compile(made, re.DOTALL)
