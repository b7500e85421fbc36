"""Decontamination: which rows of each split of a data set are in which other, for the command and from Python."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.utils import is_remote

from imgdedup_spark import __version__
from imgdedup_spark.causes import in_one_line
from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.config.wording import in_words_of_python
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small
from imgdedup_spark.hash.store import PRINTS, PrintStore
from imgdedup_spark.hash.vectors import check_models
from imgdedup_spark.read.frames import frame_source, places_of_call
from imgdedup_spark.read.open import places_of, read_input
from imgdedup_spark.read.source import Source
from imgdedup_spark.report.overlaps import matrix_text, summarize_overlaps
from imgdedup_spark.spark.stores import open_stores
from imgdedup_spark.spark.workspace import FolderWorkspace, SessionWorkspace, Workspace
from imgdedup_spark.splits import Overlaps, find_overlaps
from imgdedup_spark.stages import tell
from imgdedup_spark.write.apart import check_call, check_places, on_same_file_system
from imgdedup_spark.write.output import STAGING, Output

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class Task:
    """What ``imgdedup leaks`` is asked for.

    Attributes:
        splits: name → paths, the one for training first.
        job: how they are read and compared, and where the result goes, if anywhere.
        within: whether each split is compared with itself, too.
    """

    splits: Mapping[str, Sequence[str]]
    job: JobConfig
    within: bool = True


def run(spark: SparkSession, task: Task) -> dict[str, Any]:
    """Compares the splits, writes the output folder if there is to be one, and returns what summary.json holds.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock, job = Clock(), task.job
    inputs = ((f"{name}:", path) for name, paths in task.splits.items() for path in paths)
    open_stores(spark, [*inputs, *places_of(job)])
    check_models(job.dedup)
    tell(job.dedup)
    with clock.stage("read"):
        sources = {name: _read(spark, name, paths, job) for name, paths in task.splits.items()}
        for name, paths in task.splits.items():
            check_places(replace(job, input=tuple(paths)), sources[name])
    if not job.output:
        work: Workspace = SessionWorkspace()
        try:
            return _compare(sources, task, work, clock)[1]
        finally:
            work.close()
    output = Output(on_same_file_system(job.output, next(iter(sources.values()))))
    with output.open(overwrite=job.overwrite, options=_signature(task)) as output:
        work, store = FolderWorkspace(output.path(STAGING)), PrintStore(output.path(STAGING, PRINTS))
        found, summary = _compare(sources, task, work, clock, store)
        if found.frames:
            output.write_parquet("pairs", found.pairs(spark))
        else:
            output.write_table("pairs", found.table)
        output.finish(summary)
    return summary


def _read(spark: SparkSession, name: str, paths: Sequence[str], job: JobConfig) -> Source:
    try:
        return read_input(spark, job, paths)
    except UserError as error:
        raise UserError(f"{name}: {str(error).replace('--input ', '', 1)}") from None


def _compare(
    sources: Mapping[str, Source], task: Task, work: Workspace, clock: Clock, store: PrintStore | None = None
) -> tuple[Overlaps, dict[str, Any]]:
    found = find_overlaps(sources, task.job.dedup, work, clock, store, within=task.within)
    return found, summarize_overlaps(found, task.job.dedup, clock.stages)


def _signature(task: Task) -> str:
    """Of everything that a killed run's prints depend on, and its command."""
    job = replace(task.job, overwrite=False, quiet=False, log_format="text")
    content = {"command": "leaks", "splits": dict(task.splits), "within": task.within, "version": __version__}
    return json.dumps({**content, **dataclasses.asdict(job)}, sort_keys=True)


class Leaks:
    """What ``find_leaks`` found."""

    def __init__(self, found: Overlaps, summary: dict[str, Any], spark: SparkSession, work: Workspace) -> None:
        self._found, self._summary, self._spark, self._work = found, summary, spark, work

    @property
    def matrix(self) -> dict[str, dict[str, int]]:
        """split → other split → how many of its rows are there; of a split in itself, how many a deduplication of it
        alone would drop."""
        return {
            name: {other: cell["rows"] for other, cell in cells.items()}
            for name, cells in self._summary["matrix"].items()
        }

    @property
    def leaked(self) -> int:
        """How many rows of the tests are in the training split."""
        return self._found.leaked

    @property
    def pairs(self) -> DataFrame:
        """One row for every row of a split that is in another: ``split``, ``id``, ``other_split``, ``other_id``,
        ``distance`` (bits, or 1 − cosine), ``reason``; ids as strings."""
        return self._found.pairs(self._spark)

    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return self._summary

    def __str__(self) -> str:
        return matrix_text(self._summary)

    def close(self) -> None:
        """Lets go of what was persisted or staged; ``pairs`` cannot be read after it."""
        self._work.close()


@in_words_of_python()
@in_one_line()
def find_leaks(
    train: DataFrame,
    tests: Mapping[str, DataFrame],
    config: DedupConfig | None = None,
    *,
    id_col: str | None = None,
    within: bool = True,
    staging: str | None = None,
) -> Leaks:
    """Which rows of each split are in which other: every row of which any row there is within the threshold.

    Args:
        train: the training split.
        tests: the others, by name; ``train`` is the name of the first.
        config: how rows are compared; ``DedupConfig()`` finds equal images.
        id_col: the rows' own id, in every split; wins over ``config.id_col``.
        within: whether each split is compared with itself, too.
        staging: a folder that all executors reach, for intermediate tables, as for ``deduplicate``.

    Raises:
        UserError: an option or a column is wrong.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    config = config or DedupConfig()
    if id_col is not None:
        config = replace(config, id_col=id_col)
    config.check()
    if not tests or "train" in tests:
        raise UserError("tests: name at least one split, and none of them `train`")
    check_models(config)
    frames = {"train": train, **tests}
    places = (places_of_call(frame, config, staging, None, ()) for frame in frames.values())
    open_stores(train.sparkSession, chain.from_iterable(places))
    for frame in frames.values():
        check_call(frame, config, staging, None, ())
    if staging is not None:
        work: Workspace = FolderWorkspace(staging)
    else:
        rows = sum(frame.count() for frame in frames.values()) if is_remote() else 0
        work = SessionWorkspace(held=is_remote() and not config.is_embedding and rows <= small.MOST_ROWS)
    clock = Clock()
    try:
        sources = {name: frame_source(frame, config.id_col, work.freeze) for name, frame in frames.items()}
        found = find_overlaps(sources, config, work, clock, within=within)
    except BaseException:
        work.close()
        raise
    return Leaks(found, summarize_overlaps(found, config, clock.stages), train.sparkSession, work)
