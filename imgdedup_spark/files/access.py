"""How each store is opened in this process, where the driver has found that out by trying (``spark.stores``).

Workers know nothing of what the driver has found: what runs there takes it along (``Carried``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyarrow import fs

#: Scheme and authority, as ``uris.split_uri`` has them.
Store = tuple[str, str]


@dataclass(frozen=True)
class Way:
    """How a store is opened.

    Attributes:
        by_spark: by Hadoop's classes alone. Its root is ``root`` for them: ``s3a://lake``.
        s3: arguments of ``pyarrow.fs.S3FileSystem``, keys among them; None for what a library finds by itself.
        in_worker: opens ``root`` in a worker where nothing else does. Slow: for what Spark cannot read for it.
    """

    by_spark: bool = False
    root: str = ""
    s3: tuple[tuple[str, Any], ...] | None = None
    in_worker: Callable[[str], fs.FileSystem] | None = None

    def __repr__(self) -> str:
        """Without keys, whoever prints it."""
        return f"Way(by_spark={self.by_spark}, root={self.root!r}, s3={'…' if self.s3 else self.s3})"

    def open_s3(self) -> fs.FileSystem:
        """Raises:
        OSError: the arguments are wrong. Whether the keys are, the first request tells.
        """
        return fs.S3FileSystem(**dict(self.s3 or ()))


#: Nothing is known: a library opens the store with what it finds in the environment, or Spark does.
UNKNOWN = Way()
_ways: dict[Store, Way] = {}
_generation = 0


def way_to(scheme: str, authority: str) -> Way:
    """The store's own, or that to all of its scheme's (authority "")."""
    return _ways.get((scheme, authority)) or _ways.get((scheme, ""), UNKNOWN)


def use(ways: Mapping[Store, Way]) -> None:
    """From now on stores are opened so, in this process; others as if nothing were known."""
    global _ways, _generation
    _ways, _generation = dict(ways), _generation + 1


def generation() -> int:
    """A number that is another one in each task."""
    return _generation


def used() -> dict[Store, Way]:
    return dict(_ways)


class Carried:
    """A function for workers, which open stores as the process that made this does."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work, self._ways = work, used()

    def __call__(self, *arguments: Any) -> Any:
        use(self._ways)
        return self._work(*arguments)
