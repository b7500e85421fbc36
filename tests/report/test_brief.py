"""A result in a notebook: its counts, and pairs with pictures; without Spark."""

from __future__ import annotations

import re

import pyarrow as pa

from imgdedup_spark.api import DedupResult
from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.tallies import Tally
from imgdedup_spark.keep.at_once import AtOnce
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail
from imgdedup_spark.report import gallery
from imgdedup_spark.spark.workspace import SessionWorkspace


def result(reasons, *, in_driver):
    """A result without any DataFrame to count."""
    config = DedupConfig(on_error="drop")
    tallies = {0: Tally(rows=1200, rows_with_errors=2), 1: Tally(rows=300, rows_with_errors=1)}
    decided = AtOnce(pa.table({}), pa.table({}), pa.table({"reason": reasons}), {}) if in_driver else None
    found = Found(None, None, config, tallies, None, None, len(reasons), {}, at_once=decided)
    return DedupResult(found, Clock(), SessionWorkspace())


def test_pairs_side_by_side(monkeypatch):
    """Hostile names stay text, and a picture that cannot be had is said to be missing."""
    hostile = '"><script>\u202e'
    sides = {"kept": {"id": 1, "path": hostile}, "dropped": {"id": 2, "path": None}}
    pair = {**sides, "distance": 3.0, "reason": "near_hash", "group_size": 1234}
    monkeypatch.setattr(gallery.tables, "pairs", lambda found, count: [pair][:count])
    monkeypatch.setattr(gallery, "to_driver", pa.Table.from_pylist)
    monkeypatch.setattr(gallery, "read_thumbnails", lambda found, ids: {"1": Thumbnail("data:image/jpeg;base64,AA")})
    page = gallery.gallery(None, 1)._repr_html_()
    assert "<script" not in page and "kept: &quot;&gt;&lt;script&gt;\\u202e" in page
    assert page.count('<img src="data:image/jpeg;base64,AA"') == 1 and page.count("no picture at hand") == 1
    assert "3 bits, near_hash, 1,234 in the group" in page and "dropped: 2" in page
    assert "No duplicates" in gallery.gallery(None, 0).html


def cells(page):
    assert page.startswith("<table>") and page.endswith("</table>")
    return dict(re.findall(r"<tr><th>([^<>]*)</th><td>([^<>]*)</td></tr>", page))


def test_the_counts_of_a_result(monkeypatch):
    """Of many rows: of few there are pictures, too."""
    monkeypatch.setattr(gallery, "_FEW_ROWS", 0)
    counts = {
        "rows in": "1,500",
        "kept": "1,494",
        "dropped as duplicates": "3",
        "dropped on error": "3",
        "rows with unreadable images": "3",
    }
    found = result(["near", "exact", "a<b>&"], in_driver=True)
    assert cells(found._repr_html_()) == counts | {"— near": "1", "— exact": "1", "— a&lt;b&gt;&amp;": "1"}
    assert cells(result(["near"] * 3, in_driver=False)._repr_html_()) == counts
    found.close()
    assert found._repr_html_() == "<p>DedupResult, closed</p>"
