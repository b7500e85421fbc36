"""The way through the house: read → hash → match → keep. Writing is the caller's (``job`` or ``api``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark import matching
from imgdedup_spark.columns import check_columns, named_columns
from imgdedup_spark.config import DedupConfig
from imgdedup_spark.errors import JobError
from imgdedup_spark.fingerprints import failed, fingerprint
from imgdedup_spark.hashing import PrintStore, hash_rows
from imgdedup_spark.joins import keepers
from imgdedup_spark.keeping import orders_of_keepers, ranked
from imgdedup_spark.places import PIECE, PlacedPiece, attach
from imgdedup_spark.references import References
from imgdedup_spark.session import picture_settings, small_shuffles
from imgdedup_spark.sources import Source
from imgdedup_spark.workspace import Workspace

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class Found:
    """What a run knows once every row is decided.

    Attributes:
        prints: one fingerprint a row, with ``id`` and ``order`` (see ``fingerprints``).
        rows: ``order`` and ``rank`` of the rows that were compared.
        dropped: ``order`` (and ``piece`` and ``input``, as far as they are known), ``kept_order``, ``reference``
            (one of the two, the other is null), ``distance``, ``reason``; one row for each duplicate.
        dropped_count: how many those are.
        pieces: the files' pieces, where the source has them.
        plan: how near-duplicates were searched.
        references: what was there before the run.
    """

    source: Source
    config: DedupConfig
    prints: DataFrame
    rows: DataFrame
    dropped: DataFrame
    dropped_count: int
    pieces: list[PlacedPiece]
    plan: dict[str, Any]
    references: References | None = None

    @cached_property
    def gone(self) -> DataFrame:
        """``order`` (and ``piece``) of every row that does not stay."""
        columns = ["order", PIECE] if self.source.in_pieces else ["order"]
        orders = self.dropped.select(*columns)
        if self.config.on_error == "drop":
            orders = orders.unionByName(failed(self.prints).select(*columns))
        return orders

    @cached_property
    def groups(self) -> DataFrame:
        """``kept_order`` of every row that stands for others, and ``size``, how many."""
        return keepers(self.dropped.where("kept_order is not null"), "kept_order")

    @cached_property
    def group_count(self) -> int:
        return self.groups.count()


@dataclass
class Clock:
    """Times the stages, for the log and summary.json."""

    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        entry: dict[str, Any] = {}
        started = time.perf_counter()
        yield entry
        self.stages[name] = {"seconds": round(time.perf_counter() - started, 3), **entry}
        shown = ", ".join(
            f"{value:,} {key}" if isinstance(value, int) else f"{key} {value}" for key, value in entry.items()
        )
        log.info("%s: %.1f s%s", name, self.stages[name]["seconds"], f", {shown}" if shown else "")


def find_duplicates(
    source: Source,
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    references: References | None = None,
    store: PrintStore | None = None,
) -> Found:
    """Args:
        store: where fingerprints are kept for another run; None to keep none.
        references: rows that come before all of the source's.

    Raises:
        UserError: a column that the options name is missing or of a wrong type.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    source, raw, config = _hash(source, config, work, clock, store, references)
    rows_in = clock.stages["hash"]["rows"]
    shuffled = rows_in + (0 if references is None else references.shuffled_rows(config, rows_in))
    with small_shuffles(source.frame.sparkSession, shuffled):
        with clock.stage("match") as entry:
            prints, pieces = attach(raw, source, config.id_col, work.stage)
            rows = ranked(matching.keyed(prints, config), config, work.stage)
            decided = matching.decide(rows, config, work.stage, references)
            entry["rows"] = decided.count
        with clock.stage("keep") as entry:
            orders = orders_of_keepers(matching.dropped_ranks(rows, decided), rows, config, decided.count)
            if references is not None:
                orders = orders.withColumn("reason", references.reason())
            dropped = work.stage("dropped", orders)
            entry["rows"] = dropped_count = dropped.count()
    return Found(
        source, config, prints, rows.select("order", "rank"), dropped, dropped_count, pieces, decided.plan, references
    )


def place_rows(source: Source, config: DedupConfig, work: Workspace, clock: Clock, store: PrintStore) -> Found:
    """What there is to know of rows that are not compared: nothing is dropped.

    Raises:
        UserError: a column that the options name is missing or of a wrong type.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    source, raw, config = _hash(source, config, work, clock, store, None)
    with small_shuffles(source.frame.sparkSession, clock.stages["hash"]["rows"]):
        prints, pieces = attach(raw, source, config.id_col, work.stage)
        rows = ranked(matching.keyed(prints, config), config, work.stage).select("order", "rank")
    return Found(source, config, prints, rows, rows.limit(0).select("order"), 0, pieces, {})


def _hash(
    source: Source,
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    store: PrintStore | None,
    references: References | None,
) -> tuple[Source, DataFrame, DedupConfig]:
    """The source, its fingerprints, and the options with what only the data tell."""
    if not source.columns and source.frame.limit(1).count() == 0:
        # JSON lines without a line: a quiet day has no columns either, and is no mistake.
        source = replace(
            source, frame=source.frame.select("*", *[F.lit(None).alias(one) for one in named_columns(config)])
        )
    check_columns(source.schema, config)
    with clock.stage("hash") as entry, picture_settings(source.frame.sparkSession):
        reused: dict[str, Any] = {}
        if store is None:
            raw = work.stage("fingerprints", fingerprint(source, config))
        else:
            raw, reused = hash_rows(source, config, store, work.stage)
        entry |= {"rows": raw.count(), **reused}
    _stop_on_errors(raw, config)
    if config.hash_col and config.threshold:
        config = matching.measure_ready_hashes(raw, config, references.digits if references else (0, 0))
    return source, raw, config


def _stop_on_errors(prints: DataFrame, config: DedupConfig) -> None:
    if config.on_error != "fail":
        return
    bad = failed(prints)
    first = bad.select("errors").limit(1).collect()
    if first:
        error = first[0]["errors"][0]
        raise JobError(
            f"{bad.count()} rows have unreadable images, one of them: {error['error']}: {error['message']}; "
            "--on-error keep or drop goes on without them"
        )
