"""The report of a run that is at hand: its pictures are read again, as far as they are shown."""

from __future__ import annotations

import logging

from imgdedup_spark.causes import cause
from imgdedup_spark.keep.found import Found
from imgdedup_spark.report.choose import choose
from imgdedup_spark.report.outcome import Outcome
from imgdedup_spark.report.page import report_page
from imgdedup_spark.report.thumbnails import read_thumbnails

log = logging.getLogger("imgdedup")


def make_report(found: Found, outcome: Outcome) -> str:
    """The report as HTML.

    Args:
        outcome: of the same run.
    """
    chosen = choose(outcome)
    try:
        thumbnails = read_thumbnails(found, chosen.ids)
    except Exception as error:  # all else is there, and a run is not worth less for it
        log.warning("the report has no pictures: %s", cause(error))
        thumbnails = {}
    return report_page(outcome, thumbnails, chosen)
