"""The job: options in, output folder out."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

from pyspark.sql import SparkSession

from imgdedup_spark import __version__
from imgdedup_spark.clock import Clock
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.hash.stage import prints_of
from imgdedup_spark.hash.store import PRINTS, PrintStore
from imgdedup_spark.hash.vectors import check_models
from imgdedup_spark.index.manifest import Index
from imgdedup_spark.index.references import Past
from imgdedup_spark.keep.found import Found
from imgdedup_spark.pipeline import place_rows
from imgdedup_spark.read.open import check_output_format, places_of, read_input
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.settings import small_shuffles
from imgdedup_spark.spark.stores import open_more, open_stores
from imgdedup_spark.spark.workspace import FolderWorkspace, SessionWorkspace, Workspace
from imgdedup_spark.stages import find_in_stages
from imgdedup_spark.write.additions import Addition, begin
from imgdedup_spark.write.apart import check_places, data_signature, is_same_run, on_same_file_system
from imgdedup_spark.write.catalog import check_movable, check_table, kept_kind
from imgdedup_spark.write.everything import write_output
from imgdedup_spark.write.output import STAGING, Output

log = logging.getLogger("imgdedup")


def run(spark: SparkSession, config: JobConfig) -> dict[str, Any]:
    """Runs the whole job and returns what summary.json holds.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock = Clock()
    check_models(config.dedup)
    with clock.stage("read"):
        stores = open_stores(spark, places_of(config))
        source = _read(spark, config, stores)
        check_places(config, source)
        addition = _begin(config, source)
        folder, data = on_same_file_system(config.output, source), data_signature(config, source)
        check_table(spark, source, config, folder)
        output = Output(folder, own=lambda summary: is_same_run(summary, config, source))
    with output.open(overwrite=config.overwrite, options=_signature(config), data=data) as output:
        if output.finished is not None:
            return output.finished
        check_movable(kept_kind(source, config.output_format), output)
        return _run_into(source, config, output, _resumed(addition, config, output), clock, stores)


def _run_into(
    source: Source,
    config: JobConfig,
    output: Output,
    addition: Addition | None,
    clock: Clock,
    stores: dict[str, str],
) -> dict[str, Any]:
    work = FolderWorkspace(output.path(STAGING))
    adding = addition if not config.dry_run else None
    store = _store(adding.index) if adding else PrintStore(output.path(STAGING, PRINTS))
    against = [(path, on_same_file_system(path, source)) for path in config.against]
    past = Past(against, config.input_format, addition.past if addition else None)
    found = find_in_stages(source, config.dedup, work, clock, past, store)
    if config.strict and found.unknown:
        raise UserError(f"--strict: --never names ids that are no row's: {', '.join(map(repr, found.unknown[:3]))}")
    with clock.stage("write") as entry, small_shuffles(source.frame.sparkSession, found.rows_in):
        summary = write_output(found, output, clock, config) | {"storage": stores}
        entry["rows"] = summary["rows_kept"]
    if adding is not None:
        output.check()
        with clock.stage("index") as entry, small_shuffles(source.frame.sparkSession, found.rows_in):
            entry["rows"] = adding.add(found, work.stage).rows
        summary["run_id"] = adding.run
    if config.report:
        with clock.stage("report"):
            _write_report(found, output, summary | {"stages": clock.stages, "config": _options(config, summary)})
    summary |= {"stages": clock.stages, "config": _options(config, summary)}
    output.finish(summary)
    return summary


def _write_report(found: Found, output: Output, summary: dict[str, Any]) -> None:
    from imgdedup_spark.report.make import make_report
    from imgdedup_spark.report.outcome import read_parts

    storage.write_text(output.part("report.html"), make_report(found, read_parts(output.part(), summary)))


def _options(config: JobConfig, summary: dict[str, Any]) -> dict[str, Any]:
    job = {item.name: getattr(config, item.name) for item in dataclasses.fields(config) if item.name != "dedup"}
    return job | summary["config"]


def run_fingerprint(spark: SparkSession, config: JobConfig) -> dict[str, Any]:
    """Adds all rows that have something to compare to the index, duplicates and all; no other output. A dry run hashes
    and counts, and leaves nothing.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock = Clock()
    check_models(config.dedup)
    with clock.stage("read"):
        source = _read(spark, config, open_stores(spark, places_of(config)))
        check_places(config, source)
        addition = _begin(config, source)
    assert addition is not None
    work: Workspace = FolderWorkspace(addition.index.path(STAGING, addition.token))
    if config.dry_run:
        work = SessionWorkspace()
    try:
        store = None if config.dry_run else _store(addition.index)
        found = place_rows(source, config.dedup, work, clock, store)
        if config.dry_run:
            return {"rows_in": found.rows_in, "rows_added": 0, "run_id": addition.run}
        with clock.stage("index") as entry, small_shuffles(spark, found.rows_in):
            entry["rows"] = added = addition.add(found, work.stage, distinct=False).rows
    finally:
        work.close()
    return {"rows_in": found.rows_in, "rows_added": added, "run_id": addition.run}


def _read(spark: SparkSession, config: JobConfig, stores: dict[str, str]) -> Source:
    """The input. Adds to ``stores`` what its files lie on, if that was not known before."""
    source = read_input(spark, config, config.input)
    stores |= open_more(spark, (("--input", one) for one in source.stores))
    check_output_format(source, config.output_format)
    if source.native == "list" and config.dedup.emit_hashes and config.output_format is None:
        raise UserError("--emit-hashes: a list has no columns; say --output-format jsonl or parquet")
    if source.native == "webdataset":
        if config.dedup.emit_hashes:
            raise UserError("--emit-hashes: tar shards are copied as they are; the hashes are in hashes/")
        if config.dedup.image_root is not None:
            raise UserError("--image-root: pictures in tar shards are named by no path; leave it out")
    return source


def _begin(config: JobConfig, source: Source) -> Addition | None:
    """The run's part in the index, if it has one.

    Raises:
        UserError: the index was made with other options.
    """
    if config.index is None:
        return None
    index = Index(on_same_file_system(config.index, source))
    alone = config.index_single_writer or config.dry_run
    return begin(index, prints_of(config.dedup), config.run_id, f"--index {config.index}", alone=alone)


def _resumed(addition: Addition | None, config: JobConfig, output: Output) -> Addition | None:
    """An attempt that takes the place of a killed one is the same run."""
    if addition is None:
        return None
    memory = output.remember()
    tokens = memory.get("tokens", [])
    addition = addition.resumed(config.run_id or memory.get("run_id") or addition.run, tokens)
    output.remember(run_id=addition.run, tokens=[*tokens, addition.token])
    return addition


def _store(index: Index) -> PrintStore:
    return PrintStore(index.path(PRINTS))


def _signature(config: JobConfig) -> str:
    """Of all options but those that say what to do with what is there, and what to tell."""
    same = dataclasses.replace(config, overwrite=False, quiet=False, log_format="text", metrics=None)
    options = dataclasses.asdict(same)
    return json.dumps({**options, "version": __version__}, sort_keys=True)
