"""Advice: on a sample of any data set, what each threshold of some methods would drop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from imgdedup_spark.clock import Clock
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.kernels.hashes import HashSpec, validate
from imgdedup_spark.pipeline import place_rows
from imgdedup_spark.read.columns import check_columns
from imgdedup_spark.read.open import places_of, read_input
from imgdedup_spark.read.sample import sample_bands, sample_rows
from imgdedup_spark.report.advice import Advice, advise_on
from imgdedup_spark.report.answer import Answer
from imgdedup_spark.report.page import advice_page
from imgdedup_spark.report.thumbnails import read_thumbnails
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.stores import open_stores
from imgdedup_spark.spark.workspace import SessionWorkspace

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class Task:
    """What ``imgdedup advise`` is asked for.

    Attributes:
        job: what is read, and how pictures become hashes.
        methods: that are tried.
        rows: most to look at, about.
        answer: where the page and the notes go.
    """

    job: JobConfig
    methods: Sequence[str]
    rows: int
    answer: Answer

    def check(self) -> None:
        """Raises:
        UserError: an option is wrong, or a file would be replaced that is not to be.
        """
        for method in self.methods:
            validate(HashSpec(method, self.job.dedup.hash_size))
        if self.rows < 1:
            raise UserError(f"--rows is 1 or more, not {self.rows}")
        self.answer.check(overwrite=self.job.overwrite)


def run(spark: SparkSession, task: Task) -> Advice:
    """Looks at a sample and writes the page and the notes.

    Raises:
        UserError: the options or the input are wrong.
        JobError: the job ran and failed for a reason known to it.
    """
    clock, job = Clock(), task.job
    config = job.dedup
    specs: list[HashSpec | None] = [None]
    if config.hash_col is None:
        # Near ones first: the main hash of a run has a threshold, and all are made of one decoding.
        known = sorted(
            (HashSpec(one, config.hash_size) for one in dict.fromkeys(task.methods)), key=lambda s: not s.near
        )
        more = tuple(f"{one.method}:{one.size}:0" for one in known[1:])
        config, specs = replace(config, method=known[0].method, verify=more), [*known]
    config = replace(config, threshold=1 if specs[0] is None or specs[0].near else 0)
    open_stores(spark, places_of(job))
    with clock.stage("read") as entry:
        source = read_input(spark, job, job.input)
        if config.hash_col is not None:
            check_columns(source.schema, config, ())
            sample = sample_bands(source, config.hash_col, task.rows)
        else:
            sample = sample_rows(source, task.rows, config.id_col)
        entry["rows"] = sample.rows
    work = SessionWorkspace()
    try:
        found = place_rows(sample.source, config, work, clock, None)
        with clock.stage("compare") as entry:
            prints = to_driver(found.prints)
            failed = sum(one.rows_with_errors for one in found.tallies.values())
            assert isinstance(found.kind, Hashes)
            advice = advise_on(prints, found.kind, specs, sample, failed)
            entry["rows"] = len(prints)
        with clock.stage("page"):
            page = advice_page(advice, read_thumbnails(found, advice.ids))
            task.answer.write(page, {**advice.summary(), "stages": clock.stages})
    finally:
        work.close()
    return advice
