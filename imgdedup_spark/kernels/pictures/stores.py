"""Stores that do not answer: one bounded attempt for each, and then every row that names them is refused at once.

One that has answered and falls silent later costs one attempt more.
"""

from __future__ import annotations

import concurrent.futures
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from imgdedup_spark.errors import ImageError
from imgdedup_spark.files import storage
from imgdedup_spark.files.access import way_to
from imgdedup_spark.kernels.pictures.paths import shortened

__all__ = ["ask_store"]
T = TypeVar("T")
#: That a first answer may take: with looking up names and credentials, a slow store has it in two or three.
_SECONDS = 10.0
#: That later ones may take: a store that throttles answers late, and its clients try again.
_LATER_SECONDS = 60.0
#: Bytes a second of the slowest store that is waited for.
_SLOWEST = 1 << 20
#: An attempt that failed within it is worth as many more as there are rows; clients that retry take longer.
_QUICK = 2.0
#: After which a store is asked again: workers outlive jobs.
_AGAIN = 600.0


@dataclass
class _Store:
    """What this process knows of a scheme and host.

    Attributes:
        answers: it has said something of a file, were it that there is none, and has not fallen silent since.
        heard: when it last has.
        silent: when it was last found not to.
    """

    answers: bool = False
    heard: float = -math.inf
    silent: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_stores: dict[tuple[str, str], _Store] = {}


def ask_store(uri: str, shown: str, ask: Callable[[], T], size: int = 0) -> T:
    """``ask()``, if the store of this URI answers.

    Args:
        shown: the path, for the message.
        ask: looks up a file there, or reads it; raises ImageError.
        size: bytes that it reads.

    Raises:
        ImageError: ``unreadable``, if it does not; else what ``ask`` raises.
    """
    scheme, authority, _ = storage.split_uri(uri)
    store = _stores.setdefault((scheme, authority), _Store())
    silence = ImageError("unreadable", f"{shortened(shown)}: {scheme}://{authority} does not answer")
    if not store.answers:
        with store.lock:  # the rows that wait for it wait for one attempt
            if not store.answers:
                if store.silent is not None and time.monotonic() - store.silent < _AGAIN:
                    raise silence
                # A JVM may have to be started for it.
                first = _LATER_SECONDS if way_to(scheme, authority).by_spark else _SECONDS
                return _attempt(store, first + size / _SLOWEST, silence, ask, first=True)
    return _attempt(store, _LATER_SECONDS + size / _SLOWEST, silence, ask, first=False)


def _attempt(store: _Store, seconds: float, silence: ImageError, ask: Callable[[], T], *, first: bool) -> T:
    """``ask()``, from which follows what is known of the store: a later attempt that fails slowly, while nothing else
    is heard of it, makes the next one a first one again, and a first one that does is the last for a while."""
    begun = time.monotonic()
    try:
        found = _within(seconds, ask)
    except (concurrent.futures.TimeoutError, ImageError) as error:
        ended = time.monotonic()
        if isinstance(error, ImageError) and error.code != "unreadable":
            store.answers, store.heard = True, ended
        elif ended - begun > _QUICK and store.heard < begun:
            if first:
                store.silent = ended
            store.answers = False
        if isinstance(error, ImageError):
            raise
        raise silence from None
    store.answers, store.heard, store.silent = True, time.monotonic(), None
    return found


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """``ask()`` in a thread that nobody waits for any longer than that."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result(seconds)
