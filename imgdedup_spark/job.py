"""The job: options in, output folder out."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from typing import Any

from pyspark.sql import SparkSession

from imgdedup_spark import tables
from imgdedup_spark.additions import Addition
from imgdedup_spark.config import JobConfig
from imgdedup_spark.index import Index, check_spec
from imgdedup_spark.kept import write_kept
from imgdedup_spark.output import Output
from imgdedup_spark.pipeline import Clock, find_duplicates
from imgdedup_spark.references import gather
from imgdedup_spark.session import small_shuffles
from imgdedup_spark.sources import Source, on_same_file_system, read_source
from imgdedup_spark.summary import summarize
from imgdedup_spark.workspace import FolderWorkspace

log = logging.getLogger("imgdedup")


def run(spark: SparkSession, config: JobConfig) -> dict[str, Any]:
    """Runs the whole job and returns what summary.json holds.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock = Clock()
    with clock.stage("read"):
        source = read_source(spark, config.input, config.input_format)
        output = Output(on_same_file_system(config.output, source))
        addition = _open_index(config, source)
        others = [*config.against, *([addition.index.folder] if addition else [])]
        output.open(overwrite=config.overwrite, inputs=[*(root.read for root in source.roots), *others])
    work = FolderWorkspace(output.path("_staging"))
    index = (addition.index, addition.others) if addition else None
    references = gather(spark, config.dedup, config.against, config.input_format, index, work.stage)
    found = find_duplicates(source, config.dedup, work, clock, references)
    with clock.stage("write") as entry, small_shuffles(spark, clock.stages["hash"]["rows"]):
        output.write_parquet("duplicates", tables.duplicates(found))
        output.write_parquet("errors", tables.errors(found))
        output.write_parquet("hashes", tables.hashes(found))
        if config.dedup.show_num:
            output.write_lines("pairs", tables.pairs(found, config.dedup.show_num))
        summary = summarize(found, clock.stages)
        if not config.dry_run:
            write_kept(found, output, config.output_format, summary["rows_kept"])
        entry["rows"] = summary["rows_kept"]
    if addition is not None and not config.dry_run:
        with clock.stage("index") as entry, small_shuffles(spark, clock.stages["hash"]["rows"]):
            added = addition.write(found, work.stage)
            addition.commit(added, found)
            entry["rows"] = added.rows
        summary["run_id"] = addition.run
    job = {item.name: getattr(config, item.name) for item in dataclasses.fields(config) if item.name != "dedup"}
    summary |= {"stages": clock.stages, "config": job | summary["config"]}
    output.finish(summary)
    return summary


def _open_index(config: JobConfig, source: Source) -> Addition | None:
    """Raises:
    UserError: the index was made with other options.
    """
    if config.index is None:
        return None
    index = Index(on_same_file_system(config.index, source))
    state = index.read()
    check_spec(state, config.dedup, f"--index {config.index}")
    run_id = config.run_id or f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
    return Addition(index, run_id, uuid.uuid4().hex, state)
