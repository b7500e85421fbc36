"""Evaluation: recall and precision of a way to find duplicates, on rows of which is known what are copies."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, MapType, StructType

from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files.truth import read_truth
from imgdedup_spark.hash.vectors import check_models
from imgdedup_spark.read.columns import row_terms
from imgdedup_spark.read.open import places_of, read_input
from imgdedup_spark.read.source import ORDER, Source
from imgdedup_spark.report.answer import Answer
from imgdedup_spark.report.evaluation import evaluation_page
from imgdedup_spark.report.scores import Labels, Truth, best, joined, score
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.stores import open_stores
from imgdedup_spark.spark.workspace import SessionWorkspace, Workspace
from imgdedup_spark.splits import Split, look_at, repeated, text_ids
from imgdedup_spark.stages import tell
from imgdedup_spark.versions import versions

log = logging.getLogger("imgdedup")
#: Thresholds beside the one that is given: of hashes in 64ths of their bits, of embeddings cosines.
LADDER = (0, 2, 4, 6, 8, 10, 12, 14, 16)
COSINES = (0.99, 0.975, 0.95, 0.925, 0.9, 0.85, 0.8)
#: And where unrelated pictures are far apart, or what they have in common has been taken off.
LOWER = (0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3)


@dataclass(frozen=True)
class Task:
    """What ``imgdedup evaluate`` is asked for.

    Attributes:
        job: what is read, and the way to find duplicates.
        truth: a file of pairs; or else
        group_col: a column that is equal in copies.
        answer: where the page and the notes go.
    """

    job: JobConfig
    truth: str | None
    group_col: str | None
    answer: Answer

    def check(self) -> None:
        """Raises:
        UserError: an option is wrong, or a file would be replaced that is not to be.
        """
        if (self.truth is None) == (self.group_col is None):
            raise UserError("--truth names a file of pairs that are copies, --group-col a column: give one of them")
        self.answer.check(overwrite=self.job.overwrite)


def run(spark: SparkSession, task: Task) -> dict[str, Any]:
    """Measures, writes the page and the notes, and returns what the notes hold.

    Raises:
        UserError: the options, the input or the truth are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock, job = Clock(), task.job
    open_stores(spark, places_of(job))
    check_models(job.dedup)
    tell(job.dedup)
    pairs = None if task.truth is None else read_truth(task.truth)
    with clock.stage("read"):
        source = read_input(spark, job, job.input)
        _check_column(source, task.group_col)
    work = SessionWorkspace()
    try:
        (split,) = look_at({"--input": source}, _looking(task), work, clock)
        with clock.stage("compare") as entry:
            prints = split.placed.prints
            more = [] if task.group_col is None else ["term0"]
            rows = to_driver(prints.select(ORDER, text_ids(prints), *more)).sort_by(ORDER)
            truth, unknown = _by_column(rows) if pairs is None else _by_pairs(rows, pairs)
            if not truth.pairs:
                raise UserError(
                    f"{_named(task)}: no two rows of the input are copies by it, so there is nothing to find"
                )
            runs = dict(_runs(split, job.dedup, rows, work))
            entry["rows"] = len(rows)
    finally:
        work.close()
    summary = {
        **_measured(truth, runs, job.dedup),
        "truth": task.truth or f"column {task.group_col}",
        "unknown_ids": unknown,
        "rows_with_errors": split.tally.rows_with_errors,
        "stages": clock.stages,
        "config": dataclasses.asdict(job.dedup),
        "versions": versions(models=split.kind.uses_models),
    }
    task.answer.write(evaluation_page(summary), summary)
    return summary


def _check_column(source: Source, name: str | None) -> None:
    if name is None:
        return
    if name not in source.columns:
        raise UserError(f"--group-col: there is no column `{name}`; the input has {', '.join(source.columns)}")
    kind = source.schema[name].dataType
    if isinstance(kind, ArrayType | MapType | StructType):
        raise UserError(f"--group-col {name}: a group is a single value; found {kind.simpleString()}")


def _named(task: Task) -> str:
    return f"--group-col {task.group_col}" if task.truth is None else f"--truth {task.truth}"


def _looking(task: Task) -> DedupConfig:
    """The options that prints are made with, such that all thresholds can be tried."""
    config = task.job.dedup
    if not config.is_embedding and (config.hash_col or config.spec.near):
        config = replace(config, threshold=max(1, config.threshold))
    if task.group_col is None:
        return config
    # What rows would be sorted by is in their prints.
    config = replace(config, keep="`{}`".format(task.group_col.replace("`", "``")))
    if not row_terms(config):
        raise UserError(f"--group-col {task.group_col}: pictures have a size of that name; rename the column")
    return config


def _by_column(rows: pa.Table) -> tuple[Truth, int]:
    """A row without a value is a copy of none."""
    codes = rows.column("term0").combine_chunks().dictionary_encode().indices
    groups = np.asarray(pc.fill_null(codes, -1)).astype(np.int64)
    alone = np.flatnonzero(groups < 0)
    groups[alone] = groups.max(initial=-1) + 1 + np.arange(len(alone))
    return Truth(groups), 0


def _by_pairs(rows: pa.Table, pairs: pa.Table) -> tuple[Truth, int]:
    """And how many ids are no row's."""
    ids = rows.column("id").combine_chunks()
    a, b = (np.asarray(pc.fill_null(pc.index_in(pairs.column(name), value_set=ids), -1)) for name in ("a", "b"))
    strangers = pa.concat_arrays(
        [pairs.column(name).filter(pa.array(at < 0)).combine_chunks() for name, at in (("a", a), ("b", b))]
    ).unique()
    if len(strangers):
        log.warning(
            "--truth: %s ids are no row's, such as %r; their pairs do not count", f"{len(strangers):,}",
            strangers[0].as_py(),
        )  # fmt: skip
    known = (a >= 0) & (b >= 0) & (a != b)
    both = np.stack([a, b], axis=1)[known].astype(np.int64)
    kinds = pairs.column("kind").filter(pa.array(known)).to_pylist()
    by_kind = {name: both[[one == name for one in kinds]] for name in sorted({one for one in kinds if one})}
    return Truth(joined(len(rows), both), by_kind), len(strangers)


def _runs(split: Split, config: DedupConfig, rows: pa.Table, work: Workspace) -> Iterator[tuple[float, Labels]]:
    """Threshold → the group of each row, in the order of ``rows``."""
    ids = rows.column("id").combine_chunks()
    for threshold in _thresholds(split, config):
        changed = {"similarity": threshold} if config.is_embedding else {"threshold": int(threshold)}
        kind = replace(split.kind, config=replace(split.kind.config, keep="first", **changed))
        found = repeated(replace(split, kind=kind), work)
        groups = np.arange(len(rows))
        gone, kept = (np.asarray(pc.index_in(found.column(name), value_set=ids)) for name in ("id", "other_id"))
        groups[gone] = kept
        log.info("%s %g: %s rows would go", "cosine" if config.is_embedding else "within", threshold, f"{len(gone):,}")
        yield threshold, groups


def _thresholds(split: Split, config: DedupConfig) -> list[float]:
    """The strictest first."""
    if config.is_embedding:
        lower = LOWER if config.method == "sscd" or config.background_set is not None else ()
        return sorted({*COSINES, *lower, config.similarity}, reverse=True)
    if not (config.hash_col or config.spec.near):
        return [0]
    bits = 4 * (split.kind.size or 16) if config.hash_col else config.spec.bits or 64
    # Where a second hash must agree, too, equal ones are not asked for.
    least = 1 if config.verifies else 0
    return sorted({max(least, round(step * bits / 64)) for step in LADDER} | {max(least, config.threshold)})


def _measured(truth: Truth, runs: dict[float, Labels], config: DedupConfig) -> dict[str, Any]:
    half = truth.halves()
    chosen = best({threshold: score(truth, run, half) for threshold, run in runs.items()})
    scores = {threshold: score(truth, run) for threshold, run in runs.items()}
    given = config.similarity if config.is_embedding else config.threshold
    sizes = np.bincount(truth.groups)
    return {
        "rows": len(truth.groups),
        "groups": int((sizes > 1).sum()),
        "pairs": truth.pairs,
        "by": "similarity" if config.is_embedding else "threshold",
        "method": "hashes" if config.hash_col else config.method,
        "given": given if given in scores else next(iter(scores)),
        "scores": [{"at": threshold, **one.entry()} for threshold, one in scores.items()],
        "chosen": {"at": chosen, **score(truth, runs[chosen], ~half).entry()},
    }
