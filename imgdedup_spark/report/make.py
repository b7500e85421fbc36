"""The report of a run that is at hand: its pictures are read again, as far as they are shown."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

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


def to_arrow(frame: DataFrame) -> pa.Table:
    """The rows of a small DataFrame (``DataFrame.toArrow`` came with Spark 4)."""
    return pa.Table.from_pandas(frame.toPandas(), to_arrow_schema(frame.schema), preserve_index=False)
