"""Reviewed decisions: ``kept/`` written by a table of duplicates that somebody has looked through."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.by_hand import read_by_hand
from imgdedup_spark.hash.stage import prints_of
from imgdedup_spark.hash.tallies import Tally
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.columns import col, named_columns
from imgdedup_spark.read.open import read_source
from imgdedup_spark.read.source import ID, ORDER, PLACE, Placed, or_nulls
from imgdedup_spark.report.outcome import OUTSIDE, Outcome, read_outcome
from imgdedup_spark.spark.stores import open_more
from imgdedup_spark.spark.workspace import FolderWorkspace, Workspace
from imgdedup_spark.write.kept import write_kept
from imgdedup_spark.write.lock import Lock
from imgdedup_spark.write.output import STAGING, Output
from imgdedup_spark.write.parts import SUMMARY, read_note

log = logging.getLogger("imgdedup")
_FORM = "it is a table as duplicates/, with columns `id` and `kept_id`, as CSV, JSON lines or Parquet"
_NOTE = "applied.json"


def was_ended(folder: str) -> bool:
    """Whether somebody has ended ``apply_reviewed`` in the middle, so that it can go on there."""
    return storage.exists(Output(folder).path(STAGING, _NOTE))


def apply_reviewed(spark: SparkSession, folder: str, duplicates: str) -> dict[str, Any]:
    """Writes ``kept/`` and ``duplicates/`` of a finished run anew; returns the new summary.

    Args:
        folder: the run's output.
        duplicates: the reviewed table: a file, or a folder of Parquet files.

    Raises:
        UserError: there is no finished run, the table does not go with it, or the input has changed.
        JobError: another run is at work in the folder.
    """
    output = Output(folder)
    with Lock(output.path(STAGING), f"--output {folder}") as lock:
        note = output.path(STAGING, _NOTE)
        # Without a summary, somebody may have ended this very work in the middle of the swap below.
        outcome = read_outcome(folder, None if storage.exists(output.path(SUMMARY)) else read_note(note))
        reviewed, outside = _reviewed(outcome, duplicates)
        staged = dataclasses.replace(output, lock=lock, beside=True)
        storage.delete(staged.part())
        work = FolderWorkspace(output.path(STAGING))
        try:
            summary = _write(spark, outcome, reviewed, outside, staged, work)
        finally:
            work.close()
        lock.check()
        storage.write_text(note, json.dumps(outcome.summary, default=str))
        for part in (SUMMARY, "kept", "duplicates"):
            storage.delete(output.path(part))
        # The small one first: without it nothing can be taken up again.
        for part in ("duplicates", "kept"):
            storage.move_files(staged.part(part), output.path(part))
        storage.write_text(output.path(SUMMARY), json.dumps(summary, indent=2, ensure_ascii=False, default=str) + "\n")
        storage.delete(staged.part())
        storage.delete(note)
    return summary


def _reviewed(outcome: Outcome, path: str) -> tuple[pa.Table, np.ndarray]:
    """The reviewed table, if it goes with the run; and its rows that ``_is_outside`` tells of."""
    where = f"--duplicates {path}"
    table = read_by_hand(path, where, _FORM, ("id", "kept_id"))
    twice = [one for one, count in Counter(table["id"].to_pylist()).items() if count > 1]
    if twice:
        raise UserError(f"{where}: id {twice[0]} is there twice")
    here = pc.is_in(table["id"], outcome.ids)
    if not pc.all(here, min_count=0).as_py():
        raise UserError(f"{where}: the run has no row {table['id'].filter(pc.invert(here))[0].as_py()}")
    outside = _is_outside(outcome, table)
    own = table.filter(pa.array(~outside))
    known = pc.is_in(own["kept_id"], outcome.ids)
    if not pc.all(known, min_count=0).as_py():
        one = own.filter(pc.invert(known)).slice(0, 1).to_pylist()[0]
        raise UserError(f"{where}: {one['id']} is dropped for {one['kept_id']}, and the run has no such row")
    chained = own.filter(pc.is_in(own["kept_id"], table["id"].combine_chunks()))
    if chained.num_rows:
        one = chained.slice(0, 1).to_pylist()[0]
        raise UserError(f"{where}: {one['id']} is dropped for {one['kept_id']}, which is dropped itself")
    return table, outside


def _is_outside(outcome: Outcome, reviewed: pa.Table) -> np.ndarray:
    """(n,) bool of a reviewed table: rows that the run itself has dropped for one of an index or another data set."""
    found = outcome.duplicates.filter(pa.array(outcome.outside))
    pairs = set(zip(found["id"].to_pylist(), found["kept_id"].to_pylist(), strict=True))
    mine = zip(reviewed["id"].to_pylist(), reviewed["kept_id"].to_pylist(), strict=True)
    return np.array([one in pairs for one in mine], bool)


def _write(
    spark: SparkSession, outcome: Outcome, reviewed: pa.Table, outside: np.ndarray, staged: Output, work: Workspace
) -> dict[str, Any]:
    config = options_of(outcome.config)
    if config.dedup.emit_hashes:
        raise UserError("--emit-hashes: a run with it is not written anew; run the job again, with --never")
    if config.mark is not None:
        raise UserError(
            "--mark: a run with it has no kept/ that could be written anew; MERGE the reviewed table instead"
        )
    gone = list(dict.fromkeys([*reviewed["id"].to_pylist(), *_failed(outcome)]))
    placed, rows = _placed(spark, config, work)
    if rows != outcome.summary["rows_in"]:
        raise UserError(f"the input has {rows:,} rows now, and had {outcome.summary['rows_in']:,}: run the job again")
    # Spark writes a number or a time otherwise than Arrow, which has read the tables, but understands both.
    kind = placed.prints.schema["id"].dataType.simpleString()
    ids = spark.createDataFrame([(one,) for one in gone], "gone string").select(
        F.expr(f"try_cast(gone as {kind})").alias("id")
    )
    dropped = work.stage("dropped", placed.prints.select(ORDER, "id").join(ids, "id").select(ORDER))
    dropped_count = dropped.count()
    if dropped_count != len(gone):
        raise UserError(f"of {len(gone):,} rows to be dropped the input has {dropped_count:,} now: run the job again")
    options = dataclasses.replace(config.dedup, on_error="keep")
    found = Found(
        placed, prints_of(options), options, {None: Tally(rows)}, placed.prints, dropped, dropped_count, plan={}
    )
    write_kept(found, staged, config.output_format, config.output_table)
    before = outcome.summary
    _write_duplicates(staged, reviewed)
    sizes = Counter(reviewed["kept_id"].filter(pa.array(~outside)).to_pylist()).values()
    beyond = outcome.duplicates.filter(pc.is_in(outcome.duplicates["id"], reviewed["id"].filter(pa.array(outside))))
    reasons = Counter(beyond["reason"].to_pylist())
    new = {
        **{reason: reasons[reason] for reason in OUTSIDE if reason in before},
        "rows_kept": found.kept_count,
        "rows_dropped": reviewed.num_rows,
        "groups": len(sizes),
        "largest_group": max(sizes, default=-1) + 1,
        "reviewed": True,
    }
    # What was counted of other decisions would be wrong.
    return {name: one for name, one in before.items() if name not in ("distances", "inputs")} | new


def _failed(outcome: Outcome) -> list[str]:
    """The rows that --on-error drop has dropped."""
    if outcome.config.get("on_error") != "drop":
        return []
    return outcome.errors.filter(pc.equal(outcome.errors["level"], "error"))["id"].unique().to_pylist()


def _placed(spark: SparkSession, config: JobConfig, work: Workspace) -> tuple[Placed, int]:
    """The input's rows with their ids and numbers, no picture looked at; and how many they are."""
    open_more(spark, [("--input", one) for one in config.input])
    source = read_source(spark, config.input, config.input_format, count_hard_links=config.count_hard_links)
    source = or_nulls(source, named_columns(config.dedup))
    id_col = config.dedup.id_col
    ids = [col(id_col).alias("id")] if id_col else [F.col(ID).alias("id")] if ID in source.frame.columns else []
    places = [F.col(PLACE)] if PLACE in source.frame.columns else []
    prints = work.stage("places", source.frame.select(*places, *ids))
    counts = source.count(prints)
    return source.placed(prints, counts, id_col, work.stage), sum(one["rows"] for one in counts)


def _write_duplicates(staged: Output, reviewed: pa.Table) -> None:
    """In the columns and types of the run's own table."""
    folder = storage.join(staged.folder, "duplicates")
    opened, path = storage.open_fs(folder)
    schema = pq.ParquetDataset(path, filesystem=opened).schema.remove_metadata()
    columns = [
        reviewed.column(field.name).cast(field.type)
        if field.name in reviewed.column_names
        else pa.nulls(reviewed.num_rows, field.type)
        for field in schema
    ]
    staged.write_table("duplicates", pa.table(columns, schema=schema))


def options_of(config: Mapping[str, Any]) -> JobConfig:
    """The options of a run from its summary; those that this version does not know are left out."""
    job, dedup = ({item.name for item in dataclasses.fields(one)} for one in (JobConfig, DedupConfig))
    return JobConfig(
        **{name: value for name, value in config.items() if name in job - {"dedup"}},
        dedup=DedupConfig(**{name: value for name, value in config.items() if name in dedup}),
    )
