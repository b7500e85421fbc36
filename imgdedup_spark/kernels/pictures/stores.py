"""Stores that do not answer: one bounded attempt for each, and then every row that names them is refused at once."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from imgdedup_spark.errors import ImageError
from imgdedup_spark.files import storage
from imgdedup_spark.kernels.pictures.paths import shortened

__all__ = ["ask_store"]
T = TypeVar("T")
#: That a first answer may take: with looking up names and credentials, a slow store has it in two or three.
_SECONDS = 10.0
#: An attempt that failed within it is worth as many more as there are rows; clients that retry take longer.
_QUICK = 2.0
#: After which a store is asked again: workers outlive jobs.
_AGAIN = 600.0


@dataclass
class _Store:
    """What this process knows of a scheme and host.

    Attributes:
        answers: it has said something of a file, were it that there is none.
        silent: when it was last found not to.
    """

    answers: bool = False
    silent: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_stores: dict[tuple[str, str], _Store] = {}


def ask_store(uri: str, shown: str, ask: Callable[[], T]) -> T:
    """``ask()``, if the store of this URI answers.

    Args:
        shown: the path, for the message.
        ask: looks up a file there; raises ImageError.

    Raises:
        ImageError: ``unreadable``, if it does not; else what ``ask`` raises.
    """
    scheme, authority, _ = storage.split_uri(uri)
    store = _stores.setdefault((scheme, authority), _Store())
    if not store.answers:
        with store.lock:  # the rows that wait for it wait for one attempt
            if not store.answers:
                return _first(store, f"{scheme}://{authority}", shown, ask)
    return ask()


def _first(store: _Store, name: str, shown: str, ask: Callable[[], T]) -> T:
    begun = time.monotonic()
    silence = ImageError("unreadable", f"{shortened(shown)}: {name} does not answer")
    if store.silent is not None and begun - store.silent < _AGAIN:
        raise silence
    try:
        found = _within(_SECONDS, ask)
    except concurrent.futures.TimeoutError:
        store.silent = time.monotonic()
        raise silence from None
    except ImageError as error:
        if error.code != "unreadable":
            store.answers = True
        elif time.monotonic() - begun > _QUICK:
            store.silent = time.monotonic()
        raise
    store.answers = True
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
