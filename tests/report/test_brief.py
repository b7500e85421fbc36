"""A result in a notebook: its counts, without Spark."""

from __future__ import annotations

import re

import pyarrow as pa

from imgdedup_spark.api import DedupResult
from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.prints import Tally
from imgdedup_spark.keep.at_once import AtOnce
from imgdedup_spark.keep.found import Found
from imgdedup_spark.spark.workspace import SessionWorkspace


def result(reasons, *, in_driver):
    """A result without any DataFrame to count."""
    config = DedupConfig(on_error="drop")
    tallies = {0: Tally(rows=1200, rows_with_errors=2), 1: Tally(rows=300, rows_with_errors=1)}
    decided = AtOnce(pa.table({}), pa.table({}), pa.table({"reason": reasons}), {}) if in_driver else None
    found = Found(None, None, config, tallies, None, None, len(reasons), {}, at_once=decided)
    return DedupResult(found, Clock(), SessionWorkspace())


def cells(page):
    assert page.startswith("<table>") and page.endswith("</table>")
    return dict(re.findall(r"<tr><th>([^<>]*)</th><td>([^<>]*)</td></tr>", page))


def test_the_counts_of_a_result():
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
