"""Writing everything that a run has found, side by side."""

from __future__ import annotations

from typing import Any

from imgdedup_spark.clock import Clock
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.keep.found import Found
from imgdedup_spark.spark.settings import together
from imgdedup_spark.write import small, tables
from imgdedup_spark.write.kept import write_kept
from imgdedup_spark.write.output import Output
from imgdedup_spark.write.summary import summarize


def write_output(found: Found, output: Output, clock: Clock, config: JobConfig) -> dict[str, Any]:
    """Writes all parts of the output folder but summary.json, and returns what that is to hold.

    Raises:
        JobError: the input changed under the job.
    """
    here = None if found.config.stages else found.at_once
    actions = []
    duplicates = None if here is None else small.duplicates(here)
    if duplicates is None:
        actions.append(lambda: output.write_parquet("duplicates", tables.duplicates(found)))
    else:
        output.write_table("duplicates", duplicates)
    if here is None:
        actions.append(lambda: output.write_parquet("errors", tables.errors(found)))
        actions.append(lambda: output.write_parquet("hashes", tables.hashes(found)))
    else:
        output.write_table("errors", small.errors(here))
        output.write_table("hashes", small.hashes(here))
    if config.dedup.show_num:
        actions.append(lambda: output.write_lines("pairs", tables.pairs(found, config.dedup.show_num)))
    if config.mark is not None and not config.dry_run:
        actions.append(lambda: output.write_parquet("marks", tables.marks(found, str(config.mark))))
    elif not config.dry_run:
        actions.append(lambda: write_kept(found, output, config.output_format, config.output_table))
    summary: dict[str, Any]
    summary, *_ = together(found.prints.sparkSession, lambda: summarize(found, clock.stages), *actions)
    return summary
