"""Loading what is compiled in another thread, while workers hash."""

from __future__ import annotations

import contextlib
import importlib
import threading

from imgdedup_spark.hash.hashes import Hashes, ReadyHashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.kernels.hamming.few import are_few, words_of
from imgdedup_spark.kernels.hamming.parts import Part


def load_beside(prints: Prints, rows: int, references: int) -> None:
    """Begins to load what near rows will be searched with, if any will.

    Args:
        rows: how many there are; 0 where that is not known yet, or they are not to be decided as few ones are.
    """
    if not prints.is_near():
        return
    has_views = isinstance(prints, Hashes) and bool(prints.config.view_names)
    if isinstance(prints, Hashes) and not has_views and rows:
        # Of ready hashes nobody knows yet how long they are.
        parts = [Part(64, 0)] if isinstance(prints, ReadyHashes) else prints.parts(1)
        words = words_of(parts, contexts=bool(prints.config.text_col))
        if are_few(rows, references, words):
            return
    threading.Thread(target=_load, args=(has_views,), name="imgdedup-load").start()


def _load(has_views: bool) -> None:
    with contextlib.suppress(Exception):  # whoever needs it will say what is wrong
        for name in ("near", "packed", *(["by_views"] if has_views else [])):
            importlib.import_module(f"imgdedup_spark.match.{name}")
        importlib.import_module("imgdedup_spark.kernels.hamming.bits").load_compiled()
