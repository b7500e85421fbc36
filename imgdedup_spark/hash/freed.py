"""What becomes of memory that decoders free, with glibc; other C libraries do as they do."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["give_freed_memory_back", "keep_freed_memory"]
# Names of malloc.h: what is freed at the end of the heap and stays, and what does not go there at all.
_M_TRIM_THRESHOLD, _KEPT_BYTES = -1, 64 << 20
_M_MMAP_THRESHOLD, _APART_BYTES = -3, 32 << 20


def keep_freed_memory() -> None:
    """The next picture takes what the last one leaves: memory that goes back to the system and is asked for anew, page
    by page, is a third of the time of a ``pdq``."""
    with contextlib.suppress(AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        set_option(_M_MMAP_THRESHOLD, _APART_BYTES)


def give_freed_memory_back() -> None:
    """All of it, until more is freed."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
