"""The way through the house: what was there before, hash, match, keep. Reading and writing are the doors' (``job``,
``api``), for a folder and a DataFrame differ there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small
from imgdedup_spark.hash.apart import apart
from imgdedup_spark.hash.background import with_background
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.stage import Hashed, Rest, hash_rows, prints_of
from imgdedup_spark.hash.store import PrintStore
from imgdedup_spark.index.references import NOTHING, Past, References, gather
from imgdedup_spark.keep.at_once import AtOnce, Earlier, decide_at_once
from imgdedup_spark.keep.drop import dropped_rows
from imgdedup_spark.keep.flats import keys_of_stand_ins
from imgdedup_spark.keep.found import Found
from imgdedup_spark.keep.never import NeverMatched
from imgdedup_spark.keep.rank import ranked
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.match.beside import load_beside
from imgdedup_spark.match.decide import decide
from imgdedup_spark.match.decided import Decided
from imgdedup_spark.read.columns import named_columns
from imgdedup_spark.read.source import ORDER, Placed, Source, or_nulls
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.settings import small_shuffles
from imgdedup_spark.spark.workspace import Workspace


def find_duplicates(
    source: Source,
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    past: Past = NOTHING,
    store: PrintStore | None = None,
) -> Found:
    """Looks for duplicates in one way; ``stages`` does it in several, one after another.

    Args:
        past: rows that come before all of the source's.
        store: where prints are kept for another run; None to keep none.

    Raises:
        UserError: a column that the options name is missing or of a wrong type, or something cannot be compared.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    source = or_nulls(source, named_columns(config))
    prints_of(config).check(source)
    _check_views(config, source.known_rows)
    source.check_ids(config.id_col)
    never = NeverMatched.of(config, past)
    prints = with_background(prints_of(config), source.frame.sparkSession, work.stage, clock, past.input_format)
    references = recall(source, config, work, clock, past)
    before = references.rows if references else 0
    _check_views(config, source.known_rows + before)
    load_beside(prints, source.known_rows if never is None else 0, before)
    hashed = look(source, prints, work, clock, store=store, references=references)
    shuffled = hashed.rows + (references.shuffled_rows(hashed.prints, hashed.rows) if references else 0)
    with small_shuffles(source.frame.sparkSession, shuffled):
        with clock.stage("match") as entry:
            placed, table = place(source, hashed, config.id_col, work)
            excluded = None if never is None else never.exclusions(placed.prints, table, references)
            unknown = [] if never is None or excluded is None else never.unknown(excluded)
            decided_here = None if table is None else _at_once(table, hashed.prints, references, excluded)
            if decided_here is None and config.view_names:
                raise UserError(too_many(config, hashed.rows + before))
            if decided_here is not None:
                entry["rows"] = len(decided_here.rows)
            else:
                rows = ranked(hashed.prints.keyed(placed.prints), config, work.stage)
                if excluded is not None:
                    rows = apart(rows, excluded.rows, ORDER)
                rows = keys_of_stand_ins(rows, placed.prints, hashed.prints, references)
                decided = decide(rows, hashed.prints, work.stage, references, excluded)
                entry["rows"] = decided.count
        with clock.stage("keep") as entry:
            if decided_here is not None:
                entry["rows"] = len(decided_here.dropped)
                found = _found_at_once(placed, hashed, config, references, decided_here, work)
                return replace(found, never=never and never.given, unknown=unknown)
            dropped = work.stage("dropped", dropped_rows(rows, decided, hashed.prints, references))
            entry["rows"] = count = dropped.count()
    return Found(
        placed,
        hashed.prints,
        config,
        hashed.tallies,
        rows.select(ORDER, "rank"),
        dropped,
        count,
        decided.plan,
        references,
        highest_of(rows, decided),
        never=never and never.given,
        unknown=unknown,
    )


def place_rows(source: Source, config: DedupConfig, work: Workspace, clock: Clock, store: PrintStore | None) -> Found:
    """What there is to know of rows that are not compared: nothing is dropped.

    Raises:
        UserError: a column that the options name is missing or of a wrong type.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    source = or_nulls(source, named_columns(config))
    prints_of(config).check(source)
    source.check_ids(config.id_col)
    hashed = look(source, prints_of(config), work, clock, store=store)
    with small_shuffles(source.frame.sparkSession, hashed.rows):
        placed = source.placed(hashed.frame, hashed.counts, config.id_col, work.stage)
        rows = ranked(hashed.prints.keyed(placed.prints), config, work.stage).select(ORDER, "rank")
    nothing = rows.limit(0).select(ORDER)
    return Found(placed, hashed.prints, config, hashed.tallies, rows, nothing, 0, plan={})


def place(source: Source, hashed: Hashed, id_col: str | None, work: Workspace) -> tuple[Placed, pa.Table | None]:
    """The source with its rows numbered; and their prints in the driver, if they are few.

    Raises:
        UserError: ids repeat or are null, so that they name no row.
    """
    spark = source.frame.sparkSession
    if hashed.table is not None:
        local = partial(work.local, spark)
        found = source.placed_in_driver(hashed.frame, hashed.table, hashed.counts, id_col, local)
        if found is not None:
            return found.placed, found.table
    placed = source.placed(hashed.frame, hashed.counts, id_col, work.stage)
    return placed, to_driver(placed.prints) if small.fits(placed.prints, hashed.rows) else None


def _check_views(config: DedupConfig, rows: int) -> None:
    """Raises:
    UserError: so many rows have more views than can be compared.
    """
    if config.view_names and rows > small.MOST_ROWS:
        raise UserError(too_many(config, rows))


def too_many(config: DedupConfig, rows: int) -> str:
    """Why views cannot be compared."""
    if rows > small.MOST_ROWS:
        why = f"up to {small.MOST_ROWS:,} rows can be compared (IMGDEDUP_DRIVER_ROWS), and there are {rows:,}"
    else:
        why = f"--keep {config.keep!r} sorts by what only Spark can sort"
    return f"--views: {why}; say --views whole, and no --invariant, to compare whole pictures alone"


def _at_once(
    table: pa.Table, prints: Prints, references: References | None, excluded: Exclusions | None
) -> AtOnce | None:
    if references is None:
        return decide_at_once(table, prints, None, excluded or Exclusions())
    if len(table) + references.rows > small.MOST_ROWS or not small.fits(references.frame, references.rows):
        return None
    earlier = Earlier(to_driver(references.frame), references.index_base)
    return decide_at_once(table, prints, earlier, excluded or Exclusions())


def _found_at_once(
    placed: Placed,
    hashed: Hashed,
    config: DedupConfig,
    references: References | None,
    decided: AtOnce,
    work: Workspace,
) -> Found:
    spark = placed.source.frame.sparkSession
    rows, dropped = (work.local(spark, name, getattr(decided, name)) for name in ("rows", "dropped"))
    return Found(
        placed,
        hashed.prints,
        config,
        hashed.tallies,
        rows,
        dropped,
        len(decided.dropped),
        decided.plan,
        references,
        highest=None if decided.highest is None else work.local(spark, "highest", decided.highest),
        at_once=decided,
    )


def recall(source: Source, config: DedupConfig, work: Workspace, clock: Clock, past: Past) -> References | None:
    """What was there before, timed; None for a run that asks for nothing."""
    if not past:
        return None
    with clock.stage("references"):
        return gather(source.frame.sparkSession, prints_of(config), work.stage, past)


def look(
    source: Source,
    prints: Prints,
    work: Workspace,
    clock: Clock,
    *,
    store: PrintStore | None = None,
    references: References | None = None,
    rest: Rest | None = None,
    name: str = "hash",
) -> Hashed:
    """The hash stage, timed."""
    with clock.stage(name) as entry:
        known = references.digits if references else (0, 0)
        hashed = hash_rows(source, prints, work.stage, store=store, rest=rest, known=known)
        entry["rows"] = hashed.rows
        if hashed.files_reused:
            entry["files_reused"] = hashed.files_reused
    return hashed


def highest_of(rows: DataFrame, decided: Decided) -> DataFrame | None:
    """``order`` and ``max_similarity`` of the rows that stand for a distinct key; they are the ones that may stay."""
    if decided.highest is None:
        return None
    return rows.select(F.col("rank").alias("first"), ORDER).join(decided.highest, "first").drop("first")
