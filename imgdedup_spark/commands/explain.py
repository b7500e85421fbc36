"""``imgdedup explain --output DIR ID``: why a row went or stayed."""

from __future__ import annotations

from collections.abc import Sequence

from imgdedup_spark.commands import SessionOf, outcome_of
from imgdedup_spark.config.command_line import Parser
from imgdedup_spark.files import storage
from imgdedup_spark.report.explain import explain
from imgdedup_spark.report.page import explanation_page
from imgdedup_spark.report.pictures import find_thumbnails


def run(arguments: Sequence[str], session: SessionOf) -> int:
    """Prints what the folder says of the row, or writes it as a page.

    Raises:
        UserError: an option is wrong, or there is no such run or row.
    """
    parser = Parser(
        prog="imgdedup explain",
        description="Why a row went or stayed: its keeper, distance, reason and group, and the nearest rows that were "
        "not dropped.",
        allow_abbrev=False,
    )
    parser.add_argument("id", metavar="ID", help="the row's id, as duplicates/ and hashes/ have it")
    parser.add_argument("--output", metavar="DIR", required=True, help="the folder that a run has written")
    parser.add_argument("--html", metavar="FILE", help="write a page with the pictures too")
    given = parser.parse_args(list(arguments))
    with outcome_of(given.output, session) as outcome:
        explained = explain(outcome, given.id)
        print(explained.text())
        if given.html:
            shown = [explained.id, *([explained.duplicate["kept_id"]] if explained.duplicate else [])]
            shown += [one.id for one in (*explained.group[:24], *explained.nearest)]
            storage.write_text(given.html, explanation_page(explained, find_thumbnails(outcome, shown)))
    return 0
