"""Several ways to find duplicates, one after another: each looks only at the rows that those before it have kept.

So costly inference runs on what a cheap hash could not decide. A row that a stage has dropped names the row of that
stage that stays for it. If a later stage drops that one, the row names whom it was dropped for instead, and so on: a
``kept_order`` is always that of a row that stays in the end. ``distance`` and ``reason`` remain those to the row that
it was compared with, which is ``via_order`` then (null where that is the kept row itself).
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from typing import Any, NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.presets import spelled_out
from imgdedup_spark.hash import small
from imgdedup_spark.hash.apart import apart
from imgdedup_spark.hash.background import with_background
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.problems import failed
from imgdedup_spark.hash.stage import Hashed, Rest, prints_of
from imgdedup_spark.hash.store import PrintStore
from imgdedup_spark.hash.tallies import tally
from imgdedup_spark.index.references import NOTHING, Past
from imgdedup_spark.keep.at_once import decide_at_once
from imgdedup_spark.keep.drop import dropped_rows
from imgdedup_spark.keep.found import Found
from imgdedup_spark.keep.never import NeverMatched
from imgdedup_spark.keep.rank import ranked, where_columns
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.match.decide import decide
from imgdedup_spark.pipeline import find_duplicates, highest_of, look
from imgdedup_spark.read.source import ORDER, Source
from imgdedup_spark.spark.joins import join_few
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.settings import small_shuffles
from imgdedup_spark.spark.workspace import Workspace

log = logging.getLogger("imgdedup")


def find_in_stages(
    source: Source,
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    past: Past = NOTHING,
    store: PrintStore | None = None,
) -> Found:
    """``pipeline.find_duplicates``, for a run of one stage (its arguments, its errors) or of several."""
    tell(config)
    if not config.stages:
        return find_duplicates(source, config, work, clock, past, store)
    names, steps = config.step_names, [prints_of(step) for step in config.steps]
    if source.columns:
        # All of them before the work of the first.
        for step in steps:
            step.check(source)
    spark = source.frame.sparkSession
    later = [with_background(step, spark, work.stage, clock, past.input_format) for step in steps[1:]]
    found = find_duplicates(source, steps[0].config, work, clock, past, store)
    dropped = found.dropped.withColumn("stage", F.lit(1)).withColumn("via_order", F.lit(None).cast("bigint"))
    found = replace(found, config=config, dropped=dropped, plan={names[0]: found.plan}, at_once=None)
    never = NeverMatched.of(config, NOTHING)
    for number, step in enumerate(later, 2):
        found = _next(found, step, number, work, clock, store, never)
    return found


def tell(config: DedupConfig) -> None:
    """Logs what presets stand for; of a run by default what another one would find."""
    for step in config.steps:
        if step.preset:
            log.info("--preset %s: %s", step.preset, spelled_out(step.preset, step))
    if config.finds_equal_phashes:
        log.info(
            "only pictures of equal pHashes are duplicates; --preset balanced would find edited copies, too: %s",
            spelled_out("balanced", DedupConfig(preset="balanced")),
        )


def _next(
    found: Found,
    step: Prints,
    number: int,
    work: Workspace,
    clock: Clock,
    store: PrintStore | None,
    never: NeverMatched | None,
) -> Found:
    placed = replace(found.placed, prints=work.cut(found.prints))
    found = replace(found, placed=placed, dropped=work.cut(found.dropped))
    rest = _rest(found, work)
    step = replace(step, config=replace(step.config, id_col=placed.left_id_col))
    hashed = look(found.source, step, work, clock, store=store, rest=rest, name=f"hash {number}")
    with small_shuffles(found.prints.sparkSession, found.rows_in):
        with clock.stage(f"match {number}") as entry:
            prints = placed.renumbered(hashed.frame)
            excluded = None
            if never is not None:
                excluded = never.moved(found.prints, found.dropped).exclusions(found.prints, None, None)
            new = _decided(prints, hashed, excluded, work)
            entry["rows"] = new.rows
        with clock.stage(f"keep {number}") as entry:
            entry["rows"] = count = new.dropped.count()
            dropped = work.stage("dropped", _joined(found, new.dropped.withColumn("stage", F.lit(number))))
        found = _with_errors(found, prints, work)
        return replace(
            found,
            kind=hashed.prints,
            dropped=dropped,
            dropped_count=found.dropped_count + count,
            plan={**found.plan, found.config.step_names[number - 1]: new.plan},
            highest=new.highest,
            # The first stage's prints have no place for them.
            vectors=prints.select(ORDER, "vector") if "vector" in prints.columns else None,
        )


class _New(NamedTuple):
    """What one stage decides: of how many rows, which of them go, how that was found, and the highest cosines."""

    rows: int
    dropped: DataFrame
    plan: dict[str, Any]
    highest: DataFrame | None


def _decided(prints: DataFrame, hashed: Hashed, excluded: Exclusions | None, work: Workspace) -> _New:
    kind, spark = hashed.prints, prints.sparkSession
    if small.fits(hashed.frame, hashed.rows):
        here = decide_at_once(to_driver(prints), kind, None, excluded or Exclusions())
        if here is not None:
            highest = None if here.highest is None else work.local(spark, "highest", here.highest)
            return _New(len(here.rows), work.local(spark, "dropped", here.dropped), here.plan, highest)
    rows = ranked(kind.keyed(prints), kind.config, work.stage)
    if excluded is not None:
        rows = apart(rows, excluded.rows, ORDER)
    decided = decide(rows, kind, work.stage, None, excluded)
    dropped = work.stage("dropped", dropped_rows(rows, decided, kind))
    return _New(decided.count, dropped, decided.plan, highest_of(rows, decided))


def _rest(found: Found, work: Workspace) -> Rest:
    """The rows that are neither dropped nor unreadable."""
    bad = failed(found.prints)
    out = work.stage("out", found.dropped.select(ORDER).unionByName(bad.select(ORDER)))
    digest = out.agg(F.count(F.lit(1)).alias("rows"), F.expr(f"bit_xor(xxhash64({ORDER}))").alias("all")).collect()[0]
    # What is left depends on the stages before, and its numbers on which files there are.
    text = json.dumps([found.placed.files, digest["rows"], digest["all"]])
    return Rest(lambda part: found.placed.left(out, digest["rows"], part), hashlib.sha256(text.encode()).hexdigest())


def _joined(found: Found, new: DataFrame) -> DataFrame:
    """All dropped rows of the stages so far: the earlier ones name those that stay now."""
    moves = new.select(F.col(ORDER).alias("kept_order"), F.col("kept_order").alias("moved_to"))
    few = found.groups.join(moves, "kept_order", "left")
    earlier = join_few(found.dropped, few, "kept_order", found.group_count).drop("size")
    moved = F.col("moved_to").isNotNull()
    via = F.coalesce("via_order", F.when(moved, F.col("kept_order")))
    earlier = earlier.withColumn("via_order", via).withColumn("kept_order", F.coalesce("moved_to", "kept_order"))
    where = found.prints.select(*where_columns(found.prints))
    return earlier.drop("moved_to").unionByName(
        new.join(where, ORDER).withColumn("via_order", F.lit(None).cast("bigint"))
    )


def _with_errors(found: Found, prints: DataFrame, work: Workspace) -> Found:
    """With what a later stage could not read in the first one's prints."""
    bad = failed(prints).select(ORDER, F.col("errors").alias("more"))
    if bad.limit(1).count() == 0:
        return found
    errors = F.coalesce("more", "errors")
    joined = found.prints.join(bad, ORDER, "left").withColumn("errors", errors).drop("more")
    staged = work.stage("prints", joined)
    tallies = tally(Source.count(found.source, staged, *prints_of(found.config.steps[0]).aggregates()))
    return replace(found, placed=replace(found.placed, prints=staged), tallies=tallies)
