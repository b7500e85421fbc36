"""Writing ``kept/``: the rows that stay, exactly as they were, in input order, and no picture in a shuffle."""

from __future__ import annotations

import logging
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark import sources, tables
from imgdedup_spark.errors import JobError
from imgdedup_spark.output import Output
from imgdedup_spark.pipeline import Found
from imgdedup_spark.places import runs_of_files
from imgdedup_spark.session import picture_settings

log = logging.getLogger("imgdedup")

#: Scans in one plan. Each costs the driver some milliseconds, and a plan of thousands costs minutes.
MAX_SCANS = 200


def write_kept(found: Found, output: Output, output_format: str | None, expected: int) -> None:
    """Args:
        output_format: ``parquet`` or ``jsonl``; None for the input's.
        expected: rows that must come out.

    Raises:
        JobError: another number of rows came out; the input changed under the job.
    """
    native = "jsonl" if found.source.format in ("jsonl", "images") else "parquet"
    kind = output_format or native
    written = _by_spark(found, output, kind)
    if written != expected:
        raise JobError(f"kept/ has {written} rows and should have {expected}: did the input change during the run?")


def _by_spark(found: Found, output: Output, kind: str) -> int:
    spark = found.prints.sparkSession
    rows = _in_order(found)
    with picture_settings(spark):
        writer = rows.write.mode("overwrite")
        if kind == "parquet":
            writer.parquet(output.path("kept"))
        else:
            writer.option("ignoreNullFields", "false").json(output.path("kept"))
    back = spark.read.schema(rows.schema).format("parquet" if kind == "parquet" else "json").load(output.path("kept"))
    return back.count()


def _in_order(found: Found) -> DataFrame:
    source = found.source
    if source.format == "images":
        gone = found.gone.join(found.prints.select("order", "id"), "order").select("id")
        numbers = found.prints.select("order", "id").join(gone, "id", "left_anti")
        rows = source.frame.select("path", F.col(sources.ID).alias("id")).join(numbers, "id")
        return rows.orderBy("order").select("path")
    return tables.kept(found)
