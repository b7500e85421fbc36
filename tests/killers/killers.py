"""Pictures that kill their decoder: JPEG files with a comment that says how, and what makes them do it.

Registered in each Python process that finds this folder's ``sitecustomize`` on its path, as Spark's workers do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

MARK = b"KILLER:"


class Panic(BaseException):
    """As decoders written in Rust raise it."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("nothing to say")


def _raise(error: BaseException) -> None:
    raise error


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * (64 << 20))


def _print() -> None:
    for stream in (1, 2):
        os.write(stream, b"libtiff: a warning\n" * 1200)
    print("and more", flush=True)


def _spin() -> None:
    while True:
        pass


KILLERS: dict[str, Callable[[], object]] = {
    "abort": os.abort,
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(0),
    "sleep": lambda: time.sleep(3600),
    "spin": _spin,
    "eat": _eat,
    "sysexit": lambda: sys.exit(3),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "panic": lambda: _raise(Panic("panicked at 'index out of bounds'")),
    "surrogate": lambda: _raise(ValueError("odd \udcff text \0")),
    "mute": lambda: _raise(Mute()),
    "print": _print,
}
#: kind → code of its entry in ``errors/``; None: it is hashed.
CODES = {
    "abort": "crashed", "segfault": "crashed", "exit": "crashed", "sysexit": "crashed", "interrupt": "crashed",
    "panic": "crashed", "sleep": "timeout", "spin": "timeout", "eat": "too_large", "surrogate": "corrupt",
    "mute": "corrupt", "print": None,
}  # fmt: skip


def killer(photo: bytes, kind: str, number: int = 0) -> bytes:
    """A JPEG file that is told from others of its kind by a number."""
    comment = MARK + f"{kind}:{number}".encode()
    return photo[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + photo[2:]


def register() -> None:
    """Makes Pillow die of them, in this process and its children."""
    from PIL import ImageFile

    load = ImageFile.ImageFile.load

    def loading(picture: ImageFile.ImageFile) -> object:
        comment = picture.info.get("comment", b"")
        if isinstance(comment, bytes) and comment.startswith(MARK) and picture.tile:
            KILLERS[comment.split(b":")[1].decode()]()
        return load(picture)

    ImageFile.ImageFile.load = loading  # type: ignore[method-assign]


@contextlib.contextmanager
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has this process die of them as workers do, with a helper of its own."""
    from PIL import ImageFile

    from imgdedup_spark.hash import isolated

    monkeypatch.setattr(ImageFile.ImageFile, "load", ImageFile.ImageFile.load)
    monkeypatch.setattr(isolated, "_mine", None)
    register()
    yield
    if isolated._mine is not None:
        isolated._mine.stop()
