"""Where things really lie: two names of one place are one place, so that nothing is written over what is read."""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage

#: Ports that mean the same as none.
_PORTS = {"hdfs": ":8020"}
#: Schemes that name one and the same store, beside those that ``storage`` knows.
_TWINS = {"abfss": "abfs", "wasbs": "wasb"}


@dataclass(frozen=True)
class Place:
    """A file or folder, there or not.

    Attributes:
        named: what an error calls it: ``--output v1``, ``the input cur``.
        store: scheme and authority of its file system; ``("file", "")`` for local ones.
        path: in that store, without links, dots, double slashes or a slash at its end.
    """

    named: str
    store: tuple[str, str]
    path: str

    @classmethod
    def of(cls, option: str, uri: str) -> Place:
        """Args:
        option: what ``uri`` is, as an error says it: ``--output``, ``the input``.
        uri: plain.
        """
        named = f"{option} {uri}"
        scheme, authority, path = storage.split_uri(uri)
        if scheme == "file":
            real = os.path.realpath(path)
            return cls(named if real == path else f"{named} ({real})", ("file", ""), real)
        authority = authority.lower()
        if not scheme.startswith(("abfs", "wasb")):  # there it is container@account
            authority = authority.rpartition("@")[2]
        authority = authority.removesuffix(_PORTS.get(scheme, "\0"))
        return cls(named, (_TWINS.get(scheme, scheme), authority), posixpath.normpath("/" + path.lstrip("/")))

    def holds(self, other: Place) -> bool:
        """Whether the other is this place or lies in it."""
        (scheme, authority), (other_scheme, other_authority) = self.store, other.store
        # Without an authority it is the cluster's default one, which may be the very one that the other names.
        if scheme != other_scheme or (authority != other_authority and authority and other_authority):
            return False
        if other.path == self.path or other.path.startswith(self.path.rstrip("/") + "/"):
            return True
        return scheme == "file" and _holds_by_identity(self.path, other.path)


def _holds_by_identity(folder: str, path: str) -> bool:
    """The same where a folder has several names without links: mounted twice, or in names without case."""
    try:
        own = os.stat(folder)  # noqa: PTH116
    except OSError:
        return False
    for parent in (path, *map(str, PurePath(path).parents)):
        try:
            if os.path.samestat(own, os.stat(parent)):  # noqa: PTH116
                return True
        except OSError:
            continue  # not there yet
    return False


def check_apart(written: Place, others: Iterable[Place]) -> None:
    """Raises:
    UserError: one of the others lies in the place that is written to, or the other way round.
    """
    for other in others:
        check_spared(written, [other])
        if other.holds(written):
            raise UserError(f"{written.named}: it lies in {other.named}; choose another folder")


def check_spared(written: Place, others: Iterable[Place]) -> None:
    """Raises:
    UserError: one of the others lies in the place that is written to.
    """
    for other in others:
        if written.holds(other):
            raise UserError(f"{written.named}: {other.named} lies in it; choose another folder")


def reached(option: str, uri: str) -> list[Place]:
    """All that reading a local file, folder or glob reaches: what it names, and where links below that lead. One file
    stands for all of its folder.

    Args:
        option: see ``Place.of``.
    """
    whole = storage.absolute(uri)
    named = list(_one_a_folder(_matching(whole)))
    places = [Place.of(option, uri if path == whole else path) for path in named]
    for path in [path for path in named if os.path.isdir(path)]:  # noqa: PTH112
        places += [Place.of(f"{option} {path}, by a link,", real) for real in _one_a_folder(_behind_links(path))]
    return places


def _matching(path: str) -> Iterator[str]:
    """The paths that a glob of Hadoop's names; a path that is there is no glob."""
    if os.path.lexists(path) or not re.search(r"[*?\[{]", path):
        yield path
        return
    braces = re.search(r"\{([^{}]*)\}", path)
    if braces is None:
        yield from glob.iglob(path.replace("[^", "[!"))  # noqa: PTH207
        return
    for choice in braces[1].split(","):
        yield from _matching(path[: braces.start()] + choice + path[braces.end() :])


def _behind_links(folder: str) -> Iterator[str]:
    """What links in a folder and below it lead to, those in what they lead to included."""
    pending, seen = [os.path.realpath(folder)], set()
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        seen.add(here)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        real = os.path.realpath(entry.path)
                        yield real
                        if os.path.isdir(real):  # noqa: PTH112
                            pending.append(real)
                    elif entry.is_dir():
                        pending.append(entry.path)
        except OSError:
            continue  # whoever reads it will say so


def _one_a_folder(paths: Iterable[str]) -> Iterator[str]:
    """Folders; of files one for each folder, since there may be millions."""
    seen = set()
    for path in paths:
        folder = path if os.path.isdir(path) else os.path.dirname(path) + "/"  # noqa: PTH112, PTH120
        if folder not in seen:
            seen.add(folder)
            yield path
