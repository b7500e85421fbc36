"""The way through the house: read → hash → match → keep. Writing is the caller's (``job`` or ``api``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from imgdedup_spark import matching
from imgdedup_spark.columns import check_columns, named_columns
from imgdedup_spark.config import DedupConfig
from imgdedup_spark.errors import JobError
from imgdedup_spark.fingerprints import Tally, count_prints, failed, fingerprint, tally
from imgdedup_spark.hashing import PrintStore, hash_rows
from imgdedup_spark.joins import keepers
from imgdedup_spark.keeping import orders_of_keepers, ranked
from imgdedup_spark.places import PIECE, PlacedPiece, attach, find_pieces
from imgdedup_spark.references import References
from imgdedup_spark.session import picture_settings, small_shuffles
from imgdedup_spark.sources import Source
from imgdedup_spark.vectors import measure_vectors
from imgdedup_spark.workspace import Workspace

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class Found:
    """What a run knows once every row is decided.

    Attributes:
        prints: one fingerprint a row, with ``id`` and ``order`` (see ``fingerprints``).
        tallies: how much there is of each input (None: of inputs unknown).
        rows: ``order`` and ``rank`` of the rows that were compared.
        dropped: ``order`` (and ``piece`` and ``input``, as far as they are known), ``kept_order``, ``reference``
            (one of the two, the other is null), ``distance``, ``similarity``, ``reason``; one row for each duplicate.
            Of a run in stages also ``stage`` and ``via_order`` (see ``stages``).
        dropped_count: how many those are.
        pieces: the files' pieces, where the source has them.
        plan: how near-duplicates were searched.
        references: what was there before the run.
        highest: ``order`` and ``max_similarity``, if asked for.
        vectors: ``order`` and ``vector``, where ``prints`` has no vectors of its own.
    """

    source: Source
    config: DedupConfig
    prints: DataFrame
    tallies: dict[int | None, Tally]
    rows: DataFrame
    dropped: DataFrame
    dropped_count: int
    pieces: list[PlacedPiece]
    plan: dict[str, Any]
    references: References | None = None
    highest: DataFrame | None = None
    vectors: DataFrame | None = None

    @cached_property
    def gone(self) -> DataFrame:
        """``order`` (and ``piece``) of every row that does not stay."""
        columns = ["order", PIECE] if self.source.in_pieces else ["order"]
        orders = self.dropped.select(*columns)
        if self.config.on_error == "drop":
            orders = orders.unionByName(failed(self.prints).select(*columns))
        return orders

    @property
    def dropped_on_error(self) -> int:
        """How many rows go because an image is unreadable."""
        if self.config.on_error != "drop":
            return 0
        return sum(one.rows_with_errors for one in self.tallies.values())

    @property
    def kept_count(self) -> int:
        """How many rows stay."""
        return sum(one.rows for one in self.tallies.values()) - self.dropped_count - self.dropped_on_error

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
    """Looks for duplicates in one way; ``stages`` does it in several, one after another.

    Args:
        store: where fingerprints are kept for another run; None to keep none.
        references: rows that come before all of the source's.

    Raises:
        UserError: a column that the options name is missing or of a wrong type.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    source, raw, tallies, pieces, config = _hash(source, config, work, clock, store, references)
    rows_in = clock.stages["hash"]["rows"]
    shuffled = rows_in + (0 if references is None else references.shuffled_rows(config, rows_in))
    with small_shuffles(source.frame.sparkSession, shuffled):
        with clock.stage("match") as entry:
            prints = attach(raw, source, pieces, config.id_col, work.stage)
            rows, decided = match(prints, config, work, references)
            entry["rows"] = decided.count
        with clock.stage("keep") as entry:
            dropped, count = keep(rows, decided, config, work, references)
            entry["rows"] = count
    return Found(
        source,
        config,
        prints,
        tallies,
        rows.select("order", "rank"),
        dropped,
        count,
        pieces,
        decided.plan,
        references,
        highest_of(rows, decided),
    )


def match(
    prints: DataFrame, config: DedupConfig, work: Workspace, references: References | None = None
) -> tuple[DataFrame, matching.Decided]:
    """Ranked rows, of those that have something to compare, and what is decided about them."""
    rows = ranked(matching.keyed(prints, config), config, work.stage)
    return rows, matching.decide(rows, config, work.stage, references)


def keep(
    rows: DataFrame,
    decided: matching.Decided,
    config: DedupConfig,
    work: Workspace,
    references: References | None = None,
) -> tuple[DataFrame, int]:
    """The rows that are dropped (see ``Found``), and how many they are."""
    ranks = matching.dropped_ranks(rows, decided, config)
    orders = orders_of_keepers(ranks, rows, config, decided.count)
    if references is not None:
        orders = orders.withColumn("reason", references.reason())
    dropped = work.stage("dropped", orders)
    return dropped, dropped.count()


def highest_of(rows: DataFrame, decided: matching.Decided) -> DataFrame | None:
    """``order`` and ``max_similarity`` of the rows that stand for a distinct key; they are the ones that may stay."""
    if decided.highest is None:
        return None
    return rows.select(F.col("rank").alias("first"), "order").join(decided.highest, "first").drop("first")


def place_rows(source: Source, config: DedupConfig, work: Workspace, clock: Clock, store: PrintStore) -> Found:
    """What there is to know of rows that are not compared: nothing is dropped.

    Raises:
        UserError: a column that the options name is missing or of a wrong type.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    source, raw, tallies, pieces, config = _hash(source, config, work, clock, store, None)
    with small_shuffles(source.frame.sparkSession, clock.stages["hash"]["rows"]):
        prints = attach(raw, source, pieces, config.id_col, work.stage)
        rows = ranked(matching.keyed(prints, config), config, work.stage).select("order", "rank")
    return Found(source, config, prints, tallies, rows, rows.limit(0).select("order"), 0, pieces, {})


def _hash(
    source: Source,
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    store: PrintStore | None,
    references: References | None,
) -> tuple[Source, DataFrame, dict[int | None, Tally], list[PlacedPiece], DedupConfig]:
    """The source, its fingerprints, how many they are, the pieces they are in (if the source has them), and the options
    with what only the data tell."""
    if not source.columns and source.frame.limit(1).count() == 0:
        # JSON lines without a line: a quiet day has no columns either, and is no mistake.
        source = replace(
            source, frame=source.frame.select("*", *[F.lit(None).alias(one) for one in named_columns(config)])
        )
    check_columns(source.schema, config)
    with clock.stage("hash") as entry, picture_settings(source.frame.sparkSession, config):
        reused: dict[str, Any] = {}
        if store is None:
            raw = work.stage("fingerprints", fingerprint(source, config))
        else:
            raw, reused = hash_rows(source, config, store, work.stage)
        known = references.digits if references else (0, 0)
        raw, counts, config = measured(raw, config, known, source.in_pieces)
        tallies = tally(counts)
        entry |= {"rows": sum(one.rows for one in tallies.values()), **reused}
    stop_on_errors(raw, config)
    return source, raw, tallies, find_pieces(counts, source) if source.in_pieces else [], config


def measured(
    raw: DataFrame, config: DedupConfig, known: tuple[int, int] = (0, 0), in_pieces: bool = False
) -> tuple[DataFrame, list[Row], DedupConfig]:
    """The fingerprints, what one look at them tells (``count_prints``), and the options with what only the data tell.

    Args:
        known: the fewest and most digits or numbers of the references' prints.
        in_pieces: whether to count by piece.

    Raises:
        UserError: the prints cannot be compared.
    """
    if config.is_embedding:
        raw, config = measure_vectors(raw, config, known)
    counts = count_prints(raw, in_pieces)
    if config.hash_col and config.threshold:
        config = matching.measure_ready_hashes(counts, config, known)
    return raw, counts, config


def stop_on_errors(prints: DataFrame, config: DedupConfig) -> None:
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
