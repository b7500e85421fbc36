"""The way through the house: read → hash → match → keep. Writing is the caller's (``job`` or ``api``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.fingerprints import fingerprint
from imgdedup_spark.hash.keys import keyed
from imgdedup_spark.hash.measure import measured, stop_on_errors
from imgdedup_spark.hash.prints import Tally, tally
from imgdedup_spark.hash.store import PrintStore, hash_rows
from imgdedup_spark.index.references import References
from imgdedup_spark.keep.found import Found
from imgdedup_spark.keep.rank import orders_of_keepers, ranked
from imgdedup_spark.match import decide as matching
from imgdedup_spark.match.decided import Decided, dropped_ranks
from imgdedup_spark.read.columns import check_columns, named_columns
from imgdedup_spark.read.order import PlacedPiece, attach, find_pieces
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.settings import picture_settings, small_shuffles
from imgdedup_spark.spark.workspace import Workspace

log = logging.getLogger("imgdedup")


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
) -> tuple[DataFrame, Decided]:
    """Ranked rows, of those that have something to compare, and what is decided about them."""
    rows = ranked(keyed(prints, config), config, work.stage)
    return rows, matching.decide(rows, config, work.stage, references)


def keep(
    rows: DataFrame,
    decided: Decided,
    config: DedupConfig,
    work: Workspace,
    references: References | None = None,
) -> tuple[DataFrame, int]:
    """The rows that are dropped (see ``Found``), and how many they are."""
    ranks = dropped_ranks(rows, decided, config)
    orders = orders_of_keepers(ranks, rows, config, decided.count)
    if references is not None:
        orders = orders.withColumn("reason", references.reason())
    dropped = work.stage("dropped", orders)
    return dropped, dropped.count()


def highest_of(rows: DataFrame, decided: Decided) -> DataFrame | None:
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
        rows = ranked(keyed(prints, config), config, work.stage).select("order", "rank")
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
