"""The report of a run that is at hand: its pictures are read again, as far as they are shown."""

from __future__ import annotations

from imgdedup_spark.keep.found import Found
from imgdedup_spark.report.choose import choose
from imgdedup_spark.report.outcome import Outcome
from imgdedup_spark.report.page import report_page
from imgdedup_spark.report.thumbnails import read_thumbnails


def make_report(found: Found, outcome: Outcome) -> str:
    """The report as HTML.

    Args:
        outcome: of the same run.
    """
    chosen = choose(outcome)
    return report_page(outcome, read_thumbnails(found, chosen.ids), chosen)
