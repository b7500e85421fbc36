"""``imgdedup apply --output DIR --duplicates FILE``: writes kept/ by a reviewed table."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from imgdedup_spark.commands import SessionOf
from imgdedup_spark.config.command_line import Parser
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.files import storage
from imgdedup_spark.report.outcome import read_outcome

log = logging.getLogger("imgdedup")


def run(arguments: Sequence[str], session: SessionOf) -> int:
    """Writes kept/ and duplicates/ of a run anew.

    Raises:
        UserError: an option is wrong, or the table does not go with the run.
        JobError: another run is at work in the folder.
    """
    parser = Parser(
        prog="imgdedup apply",
        description="Writes kept/ by a reviewed duplicates table, instead of finding duplicates again.",
        allow_abbrev=False,
    )
    parser.add_argument("--output", metavar="DIR", required=True, help="the folder that a run has written")
    parser.add_argument(
        "--duplicates", metavar="FILE", required=True,
        help="a table as duplicates/, without the rows that are to stay: Parquet, CSV or JSON lines",
    )  # fmt: skip
    given = parser.parse_args(list(arguments))
    from imgdedup_spark.report.apply import apply_reviewed, was_ended
    from imgdedup_spark.spark.stores import open_stores

    if storage.is_local(given.output) and not was_ended(given.output):
        read_outcome(given.output)  # before Spark is started

    with session(JobConfig(output=given.output)) as spark:
        open_stores(spark, [("--output", given.output), ("--duplicates", given.duplicates)])
        summary = apply_reviewed(spark, given.output, given.duplicates)
    log.info("%s kept, %s dropped; see %s", f"{summary['rows_kept']:,}", f"{summary['rows_dropped']:,}", given.output)
    return 0
