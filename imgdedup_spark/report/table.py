"""Tables of a result as a notebook shows them: their first rows, and the pictures of rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from html import escape
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail, Thumbnails
from imgdedup_spark.report.explain import printable
from imgdedup_spark.report.gallery import gallery, is_cheap
from imgdedup_spark.report.outcome import OUTSIDE
from imgdedup_spark.report.thumbnails import read_thumbnails
from imgdedup_spark.spark.local import to_driver

#: Rows, and characters of a value, that are shown.
ROWS, LONGEST = 20, 200


def shows_rows(frame: DataFrame, found: Found, ids: tuple[str, ...] = ()) -> DataFrame:
    """The same frame, which a notebook shows as a table of its first rows.

    Args:
        ids: its columns that name rows, whose pictures are shown where they can be had cheaply.
    """
    return _shown_by(frame, partial(_table, frame, found, ids))


def shows_pairs(frame: DataFrame, found: Found, count: int) -> DataFrame:
    """A frame of ``tables.pairs``, which a notebook shows as pictures side by side."""
    return _shown_by(frame, lambda: gallery(found, count).html)


def _shown_by(frame: DataFrame, made: Callable[[], str]) -> DataFrame:
    def shown() -> str | None:
        # What a notebook shows of itself must not fail; without an answer it shows the frame as it is.
        with suppress(PySparkException, UserError, JobError, pa.ArrowException):
            return made()
        return None

    frame._repr_html_ = shown
    return frame


def _table(frame: DataFrame, found: Found, ids: tuple[str, ...]) -> str:
    rows = to_driver(frame.limit(ROWS)).to_pylist()
    pictures: dict[str, Thumbnail] = {}
    if ids and is_cheap(found):
        wanted = dict.fromkeys(str(row[name]) for row in rows for name in ids if _is_here(row, name))
        pictures = read_thumbnails(found, list(wanted))
    contents = [value for row in rows for value in row.values() if isinstance(value, bytes)]
    maker = Isolated(Thumbnails(found.config.max_pixels, found.config.reading), found.config.image_timeout)
    made = iter(maker.hash_batch(contents) if contents else [])

    def cell(row: dict[str, Any], name: str) -> str:
        value = row[name]
        if isinstance(value, bytes):
            return _picture(next(made)) or f"{len(value):,} bytes"
        of_row = pictures.get(str(value)) if name in ids and _is_here(row, name) else None
        text = "" if value is None else printable(str(value))
        return _picture(of_row) + escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")

    head = "".join(f"<th>{escape(printable(name))}</th>" for name in frame.columns)
    lines = ["".join(f"<td>{cell(row, name)}</td>" for name in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    more = f"<p>The first {ROWS} rows.</p>" if len(rows) == ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def _is_here(row: dict[str, Any], name: str) -> bool:
    """Whether a column's id is that of one of this run's rows."""
    return row[name] is not None and not (name == "kept_id" and row.get("reason") in OUTSIDE)


def _picture(made: Thumbnail | None) -> str:
    return f'<img src="{escape(made.uri)}" alt=""><br>' if made else ""
