"""Numba's compiler, with its machine code kept on disk where that is possible."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba

__all__ = ["compiled"]
F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, fastmath: Collection[str] = ()) -> F:
    """Numba's ``njit``, without Python's lock; where nothing can be written, each worker compiles anew."""
    options = {"nogil": True, "fastmath": set(fastmath)}
    try:
        cached = numba.njit(cache=True, **options)(function)
        if _can_write(cached.stats.cache_path):
            return cached
    except RuntimeError:
        pass  # Numba found no place for a cache.
    return numba.njit(**options)(function)


@cache
def _can_write(folder: str) -> bool:
    """Whether files can be made there. For code in a zip file (``--py-files``) Numba does not find out in time."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
