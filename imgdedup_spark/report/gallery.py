"""Pairs of a result with their pictures, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.pictures.thumbnail import SIDE, Thumbnail
from imgdedup_spark.report.explain import distance_text, printable
from imgdedup_spark.report.outcome import OUTSIDE
from imgdedup_spark.report.thumbnails import read_thumbnails
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.write import tables

#: Rows of a DataFrame that are read once more for a few pictures, without being asked for them: seconds.
_FEW_ROWS = 20_000


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; a notebook shows them.

    Attributes:
        html: needs nothing else, and everything from the data in it is escaped.
    """

    html: str

    def _repr_html_(self) -> str:
        return self.html


def gallery(found: Found, count: int) -> Gallery:
    """The kept and a dropped row of each of the ``count`` largest groups, side by side."""
    pairs = to_driver(tables.pairs(found, count)).to_pylist()
    ids = dict.fromkeys(id_text(pair[side]["id"]) for pair in pairs for side in ("kept", "dropped"))
    thumbnails = read_thumbnails(found, list(ids))
    return Gallery("".join(_pair(pair, thumbnails) for pair in pairs) or "<p>No duplicates among these rows.</p>")


def is_cheap(found: Found) -> bool:
    """Whether a few pictures can be had without reading very many rows once more."""
    return found.at_once is not None and found.rows_in <= _FEW_ROWS


def _pair(pair: dict[str, Any], thumbnails: dict[str, Thumbnail]) -> str:
    # An id from an index may be that of another row here.
    kept = {} if pair["reason"] in OUTSIDE else thumbnails
    figures = _figure(pair["kept"], "kept", kept) + _figure(pair["dropped"], "dropped", thumbnails)
    more = f", {pair['group_size']:,} in the group" if pair["group_size"] > 2 else ""
    said = f"{distance_text(pair['distance'])}, {pair['reason']}{more}"
    return (
        '<div style="display:inline-block;margin:4px;padding:4px;border:1px solid #8888;vertical-align:top">'
        f'<div style="display:flex;gap:4px">{figures}</div><div>{escape(said)}</div></div>'
    )


def _figure(row: dict[str, Any], side: str, thumbnails: dict[str, Thumbnail]) -> str:
    name = id_text(row["id"])
    made = thumbnails.get(name)
    picture = f'<img src="{escape(made.uri)}" alt="">' if made else "no picture at hand"
    words = f"{side}: {printable(row['path'] or name)}"
    return (
        f'<figure style="margin:0;width:{SIDE}px;overflow-wrap:anywhere">{picture}'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def id_text(value: object) -> str:
    """An id as thumbnails are found by."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
