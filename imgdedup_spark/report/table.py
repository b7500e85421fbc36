"""Tables of a result as a notebook shows them: their first rows, and the pictures of rows."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StringType, StructField, StructType

from imgdedup_spark.files.access import Carried
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail, Thumbnails
from imgdedup_spark.report.explain import printable
from imgdedup_spark.report.gallery import gallery, id_text, is_cheap
from imgdedup_spark.report.outcome import OUTSIDE
from imgdedup_spark.report.thumbnails import read_thumbnails
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.settings import picture_settings

#: Rows, and characters of a value, that are shown.
ROWS, LONGEST = 20, 200


def shows_rows(frame: DataFrame, found: Found, ids: tuple[str, ...], *, pictures: bool) -> DataFrame:
    """The same frame, which a notebook shows as a table of its first rows where these can be had cheaply.

    Args:
        ids: its columns that name rows, whose pictures are shown.
        pictures: whether other columns may hold some.
    """
    return _shown_by(frame, found, partial(_table, frame, found, ids, pictures))


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


def _table(frame: DataFrame, found: Found, ids: tuple[str, ...], pictures: bool) -> str:
    names = frame.columns
    rows = _values(frame, found, ids, pictures)
    shown = rows[:ROWS]
    wanted = dict.fromkeys(str(row[name]) for row in shown for name in ids if _is_here(row, name))
    of_rows = read_thumbnails(found, list(wanted))

    def cell(row: dict[str, str | None], name: str) -> str:
        if name in ids:
            return _picture(of_rows.get(str(row[name])) if _is_here(row, name) else None) + _text(row[name])
        return row[name] or ""

    head = "".join(f"<th>{escape(printable(name))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell(row, name)}</td>' for name in row)}</tr>" for row in shown)
    more = f"<p>The first {ROWS} rows.</p>" if len(rows) > ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def _values(frame: DataFrame, found: Found, ids: tuple[str, ...], pictures: bool) -> list[dict[str, str | None]]:
    """What is shown of the first rows, and of one more: that there is one."""
    few, schema = frame.limit(ROWS + 1), StructType([StructField(name, StringType()) for name in frame.columns])
    if not pictures:
        shown = ShowValues(ids)(to_driver(few).to_batches())
        return pa.Table.from_batches(shown, to_arrow_schema(schema)).to_pylist()
    # By the workers, so that no picture comes here but a small one; and a process that speaks with Spark Connect is
    # not one to fork decoders from: gRPC's threads are gone in the fork, and some of them die of it.
    maker = Isolated(Thumbnails(found.config.max_pixels, found.config.reading), found.config.image_timeout)
    with picture_settings(frame.sparkSession):
        return to_driver(few.mapInArrow(Carried(ShowValues(ids, maker)), schema)).to_pylist()


@dataclass
class ShowValues:
    """Rows → what is shown of their values, as HTML; of ids that name rows their text.

    Args:
        ids: the columns that name rows.
        maker: makes thumbnails; None to show no pictures.
    """

    ids: tuple[str, ...]
    maker: Isolated | None = None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            names = batch.schema.names
            shown = [self._column(name, batch.column(place).to_pylist()) for place, name in enumerate(names)]
            yield pa.RecordBatch.from_arrays([pa.array(one, pa.string()) for one in shown], names)

    def _column(self, name: str, values: list[Any]) -> list[str | None]:
        if name in self.ids:
            return [None if value is None else id_text(value) for value in values]
        files = {place: data for place, value in enumerate(values) if self.maker and (data := _file(value))}
        shown: list[str | None] = ["" if place in files else _text(value) for place, value in enumerate(values)]
        made = self.maker.hash_batch(list(files.values())) if self.maker and files else []
        for (place, data), one in zip(files.items(), made, strict=True):
            shown[place] = _of_file(one, data, values[place])
        return shown


def _of_file(made: Thumbnail | None, data: bytes, value: object) -> str:
    named = _text(value["path"]) if isinstance(value, dict) and value.get("path") else ""
    return (_picture(made) + named) or f"{len(data):,} bytes"


def _file(value: object) -> bytes | None:
    """What may be a picture's file: bytes, or those of a struct as Hugging Face has it."""
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else None


def _text(value: object) -> str:
    if value is None:
        return ""
    text = reprlib.repr(value) if isinstance(value, list | dict) else id_text(value)
    return escape(printable(text[:LONGEST]) + ("…" if len(text) > LONGEST else ""))


def _is_here(row: dict[str, str | None], name: str) -> bool:
    """Whether a column's id is that of one of this run's rows. (Reasons are the same as HTML.)"""
    return row[name] is not None and not (name == "kept_id" and row.get("reason") in OUTSIDE)


def _picture(made: Thumbnail | None) -> str:
    return f'<img src="{escape(made.uri)}" alt=""><br>' if made else ""
