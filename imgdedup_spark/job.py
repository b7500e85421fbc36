"""The job: options in, output folder out."""

from __future__ import annotations

import dataclasses
import json
import logging
from contextlib import nullcontext
from typing import Any

from pyspark.sql import SparkSession

from imgdedup_spark import __version__
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.hash.encoder import check_models
from imgdedup_spark.hash.store import PRINTS, PrintStore
from imgdedup_spark.index.manifest import Index, State
from imgdedup_spark.index.references import gather
from imgdedup_spark.index.spec import check_spec
from imgdedup_spark.pipeline import Clock, place_rows
from imgdedup_spark.read.files import read_source
from imgdedup_spark.read.source import Source, on_same_file_system
from imgdedup_spark.spark.hadoop import serve_storage
from imgdedup_spark.spark.settings import small_shuffles, together
from imgdedup_spark.spark.workspace import FolderWorkspace
from imgdedup_spark.stages import find_in_stages
from imgdedup_spark.write import tables
from imgdedup_spark.write.additions import Addition, begin
from imgdedup_spark.write.kept import write_kept
from imgdedup_spark.write.output import STAGING, Output
from imgdedup_spark.write.summary import summarize

log = logging.getLogger("imgdedup")


def run(spark: SparkSession, config: JobConfig) -> dict[str, Any]:
    """Runs the whole job and returns what summary.json holds.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock = Clock()
    serve_storage()
    check_models(config.dedup)
    with clock.stage("read"):
        source = read_source(spark, config.input, config.input_format)
        index = None if config.index is None else Index(on_same_file_system(config.index, source))
        state = _read_index(index, config, source)
        folders = [*config.against, *([index.folder] if index else [])]
        output = Output(on_same_file_system(config.output, source)).open(
            overwrite=config.overwrite,
            inputs=[*(root.read for root in source.roots), *folders],
            signature=_signature(config),
        )
        if output.finished is not None:
            return output.finished
        addition = None if index is None else _begin_addition(index, state, config, output)
    try:
        return _run_into(spark, source, config, output, addition, clock)
    except UserError:
        output.abandon()
        raise


def _run_into(
    spark: SparkSession,
    source: Source,
    config: JobConfig,
    output: Output,
    addition: Addition | None,
    clock: Clock,
) -> dict[str, Any]:
    work = FolderWorkspace(output.path(STAGING))
    adding = addition if not config.dry_run else None
    store = _store(adding.index) if adding else PrintStore(output.path(STAGING, PRINTS))
    earlier = (addition.index, addition.others) if addition else None
    with clock.stage("references") if earlier or config.against else nullcontext():
        against = [(path, on_same_file_system(path, source)) for path in config.against]
        references = gather(spark, config.dedup, against, config.input_format, earlier, work.stage)
    found = find_in_stages(source, config.dedup, work, clock, references, store)
    with clock.stage("write") as entry, small_shuffles(spark, clock.stages["hash"]["rows"]):
        actions = [
            lambda: output.write_parquet("duplicates", tables.duplicates(found)),
            lambda: output.write_parquet("errors", tables.errors(found)),
            lambda: output.write_parquet("hashes", tables.hashes(found)),
        ]
        if config.dedup.show_num:
            actions.append(lambda: output.write_lines("pairs", tables.pairs(found, config.dedup.show_num)))
        if not config.dry_run:
            actions.append(lambda: write_kept(found, output, config.output_format))
        summary, *_ = together(spark, lambda: summarize(found, clock.stages), *actions)
        entry["rows"] = summary["rows_kept"]
    if adding is not None:
        with clock.stage("index") as entry, small_shuffles(spark, clock.stages["hash"]["rows"]):
            added = adding.write(found, work.stage)
            adding.commit(added, found)
            entry["rows"] = added.rows
        summary["run_id"] = adding.run
    job = {item.name: getattr(config, item.name) for item in dataclasses.fields(config) if item.name != "dedup"}
    summary |= {"stages": clock.stages, "config": job | summary["config"]}
    output.finish(summary)
    return summary


def run_fingerprint(spark: SparkSession, config: JobConfig) -> dict[str, Any]:
    """Adds all rows that have something to compare to the index, duplicates and all; no other output.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    assert config.index is not None
    clock = Clock()
    serve_storage()
    check_models(config.dedup)
    with clock.stage("read"):
        source = read_source(spark, config.input, config.input_format)
        index = Index(on_same_file_system(config.index, source))
        state = _read_index(index, config, source)
        addition = begin(index, state, config.run_id)
    work = FolderWorkspace(index.path(STAGING, addition.token))
    try:
        found = place_rows(source, config.dedup, work, clock, _store(index))
        with clock.stage("index") as entry, small_shuffles(spark, clock.stages["hash"]["rows"]):
            added = addition.write(found, work.stage, distinct=False)
            addition.commit(added, found)
            entry["rows"] = added.rows
    finally:
        work.close()
    return {"rows_in": clock.stages["hash"]["rows"], "rows_added": added.rows, "run_id": addition.run}


def _read_index(index: Index | None, config: JobConfig, source: Source) -> State:
    """Raises:
    UserError: the index was made with other options, or lies where it would be read as input.
    """
    if index is None:
        return State()
    mine = storage.absolute(index.folder).rstrip("/") + "/"
    for root in source.roots:
        if mine.startswith(storage.absolute(root.read).rstrip("/") + "/"):
            raise UserError(f"--index {config.index}: it lies in the input {root.read}; choose another folder")
    state = index.read()
    check_spec(state, config.dedup, f"--index {config.index}")
    return state


def _begin_addition(index: Index, state: State, config: JobConfig, output: Output) -> Addition:
    """The run's part in the index. An attempt that takes the place of a killed one is the same run."""
    memory = output.remember()
    earlier = memory.get("tokens", [])
    addition = begin(index, state, config.run_id or memory.get("run_id"), earlier)
    output.remember(run_id=addition.run, tokens=[*earlier, addition.token])
    return addition


def _store(index: Index) -> PrintStore:
    return PrintStore(index.path(PRINTS), remembers=True)


def _signature(config: JobConfig) -> str:
    """Of all options but the one that says what to do with what is there."""
    options = dataclasses.asdict(dataclasses.replace(config, overwrite=False))
    return json.dumps({**options, "version": __version__}, sort_keys=True)
