"""Tables of a result as a notebook shows them: their first rows, and the pictures of rows."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from html import escape
from typing import Any

from pyspark.sql import DataFrame

from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail, Thumbnails
from imgdedup_spark.report.explain import printable
from imgdedup_spark.report.gallery import gallery, id_text, is_cheap
from imgdedup_spark.report.outcome import OUTSIDE
from imgdedup_spark.report.thumbnails import read_thumbnails
from imgdedup_spark.spark.local import to_driver

#: Rows, and characters of a value, that are shown.
ROWS, LONGEST = 20, 200


def shows_rows(frame: DataFrame, found: Found, ids: tuple[str, ...] = ()) -> DataFrame:
    """The same frame, which a notebook shows as a table of its first rows where these can be had cheaply.

    Args:
        ids: its columns that name rows, whose pictures are shown.
    """
    return _shown_by(frame, found, partial(_table, frame, found, ids))


def shows_pairs(frame: DataFrame, found: Found, count: int) -> DataFrame:
    """A frame of ``tables.pairs``, which a notebook shows as pictures side by side."""
    return _shown_by(frame, found, lambda: gallery(found, count).html)


def _shown_by(frame: DataFrame, found: Found, made: Callable[[], str]) -> DataFrame:
    def shown() -> str | None:
        # What a notebook shows of itself must not fail; without an answer it shows the frame as any other.
        with suppress(Exception):
            return made() if is_cheap(found) else None
        return None

    frame._repr_html_ = shown
    return frame


def _table(frame: DataFrame, found: Found, ids: tuple[str, ...]) -> str:
    rows = to_driver(frame.limit(ROWS + 1)).to_pylist()
    shown = rows[:ROWS]
    wanted = dict.fromkeys(id_text(row[name]) for row in shown for name in ids if _is_here(row, name))
    of_rows = read_thumbnails(found, list(wanted))
    files = [data for row in shown for name, value in row.items() if name not in ids and (data := _file(value))]
    maker = Isolated(Thumbnails(found.config.max_pixels, found.config.reading), found.config.image_timeout)
    made = iter(maker.hash_batch(files) if files else [])

    def cell(row: dict[str, Any], name: str) -> str:
        value = row[name]
        if name in ids:
            return _picture(of_rows.get(id_text(value)) if _is_here(row, name) else None) + _text(value)
        if not (data := _file(value)):
            return _text(value)
        return _picture(next(made)) + (
            _text(value["path"]) if isinstance(value, dict) and value.get("path") else ""
        ) or (f"{len(data):,} bytes")

    head = "".join(f"<th>{escape(printable(name))}</th>" for name in frame.columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell(row, name)}</td>' for name in row)}</tr>" for row in shown)
    more = f"<p>The first {ROWS} rows.</p>" if len(rows) > ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def _file(value: object) -> bytes | None:
    """What may be a picture's file: bytes, or those of a struct as Hugging Face has it."""
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else None


def _text(value: object) -> str:
    if value is None:
        return ""
    text = reprlib.repr(value) if isinstance(value, list | dict) else id_text(value)
    return escape(printable(text[:LONGEST]) + ("…" if len(text) > LONGEST else ""))


def _is_here(row: dict[str, Any], name: str) -> bool:
    """Whether a column's id is that of one of this run's rows."""
    return row[name] is not None and not (name == "kept_id" and row.get("reason") in OUTSIDE)


def _picture(made: Thumbnail | None) -> str:
    return f'<img src="{escape(made.uri)}" alt=""><br>' if made else ""
