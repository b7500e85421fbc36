"""Several ways to find duplicates, one after another: each looks only at the rows that those before it have kept.

So costly inference runs on what a cheap hash could not decide. A row that a stage has dropped names the row of that
stage that stays for it. If a later stage drops that one, the row names whom it was dropped for instead, and so on: a
``kept_order`` is always that of a row that stays in the end. ``distance`` and ``reason`` remain those to the row that
it was compared with, which is ``via_order`` then (null where that is the kept row itself).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.fingerprints import fingerprint
from imgdedup_spark.hash.listing import Rest
from imgdedup_spark.hash.measure import measured, stop_on_errors
from imgdedup_spark.hash.prints import count_prints, failed, tally
from imgdedup_spark.hash.store import PrintStore, hash_rows
from imgdedup_spark.index.references import References
from imgdedup_spark.keep.found import Found
from imgdedup_spark.keep.rows import ROW, without
from imgdedup_spark.pipeline import Clock, find_duplicates, highest_of, keep, match
from imgdedup_spark.read.columns import check_columns
from imgdedup_spark.read.order import ORDER, where_columns
from imgdedup_spark.read.source import ID, PLACE, Source
from imgdedup_spark.spark.joins import join_few
from imgdedup_spark.spark.settings import picture_settings, small_shuffles
from imgdedup_spark.spark.workspace import Workspace

_PLACE = PLACE + "_again"


def find_in_stages(
    source: Source,
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    references: References | None = None,
    store: PrintStore | None = None,
) -> Found:
    """``pipeline.find_duplicates``, for a run of one stage (its arguments, its errors) or of several."""
    if not config.stages:
        return find_duplicates(source, config, work, clock, references, store)
    names, steps = config.step_names, config.steps
    if source.columns:
        # All of them before the work of the first.
        for step in steps:
            check_columns(source.schema, step)
    found = find_duplicates(source, steps[0], work, clock, references, store)
    dropped = found.dropped.withColumn("stage", F.lit(1)).withColumn("via_order", F.lit(None).cast("bigint"))
    vectors = found.prints.select(ORDER, "vector") if steps[0].is_embedding else None
    found = replace(found, config=config, dropped=dropped, plan={names[0]: found.plan}, vectors=vectors)
    for number, step in enumerate(steps[1:], 2):
        found = _next(found, step, number, work, clock, store)
    return found


def _next(
    found: Found, step: DedupConfig, number: int, work: Workspace, clock: Clock, store: PrintStore | None
) -> Found:
    spark = found.prints.sparkSession
    found = replace(found, prints=work.cut(found.prints), dropped=work.cut(found.dropped))
    with clock.stage(f"hash {number}") as entry, picture_settings(spark, step):
        raw, reused = _hash_rest(found, step, work, store)
        raw, counts, step = measured(raw, step)
        entry |= {"rows": sum(one["rows"] for one in counts), **reused}
    stop_on_errors(raw, step)
    with small_shuffles(spark, clock.stages["hash"]["rows"]):
        with clock.stage(f"match {number}") as entry:
            prints = _numbered(raw, found)
            rows, decided = match(prints, step, work)
            entry["rows"] = decided.count
        with clock.stage(f"keep {number}") as entry:
            new, count = keep(rows, decided, step, work)
            entry["rows"] = count
            dropped = work.stage("dropped", _joined(found, new.withColumn("stage", F.lit(number))))
        found = _with_errors(found, prints, work)
        return replace(
            found,
            dropped=dropped,
            dropped_count=found.dropped_count + count,
            plan={**found.plan, found.config.step_names[number - 1]: decided.plan},
            highest=highest_of(rows, decided),
            vectors=prints.select(ORDER, "vector") if step.is_embedding else None,
        )


def _hash_rest(
    found: Found, step: DedupConfig, work: Workspace, store: PrintStore | None
) -> tuple[DataFrame, dict[str, Any]]:
    """Fingerprints of the rows that are neither dropped nor unreadable. Their ``id`` is the row's ``order`` where rows
    are in pieces, which cannot be told from some of the rows alone."""
    source = found.source
    bad = failed(found.prints)
    out = work.stage("out", found.dropped.select(ORDER).unionByName(bad.select(ORDER)))
    digest = out.agg(F.count(F.lit(1)).alias("rows"), F.expr(f"bit_xor(xxhash64({ORDER}))").alias("all")).collect()[0]

    def rest_of(part: Source) -> Source:
        frame = part.frame
        if not source.in_pieces:
            return replace(part, frame=without(found, out, digest["rows"]))
        frame = without(found, out, digest["rows"], frame.withColumn(_PLACE, F.col(PLACE)))
        frame = frame.withColumnRenamed(_PLACE, PLACE).withColumnRenamed(ROW, ID)
        return replace(part, frame=frame, in_pieces=False)

    if source.in_pieces:
        step = replace(step, id_col=None)
    if store is None:
        return work.stage("fingerprints", fingerprint(rest_of(source), step)), {}
    # What is left depends on the stages before, and its numbers on which files there are.
    files = [(piece.input, piece.uri, piece.ordinal) for piece in found.pieces]
    name = hashlib.sha256(json.dumps([files, digest["rows"], digest["all"]]).encode()).hexdigest()
    return hash_rows(source, step, store, work.stage, Rest(rest_of, name))


def _numbered(raw: DataFrame, found: Found) -> DataFrame:
    """Adds ``order``."""
    raw = raw.drop(PLACE)
    if found.source.in_pieces:
        return raw.withColumnRenamed("id", ORDER)
    return raw.join(found.prints.select("id", ORDER), "id").drop("id")


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
    """With what a later stage could not read in the first one's fingerprints."""
    bad = failed(prints).select(ORDER, F.col("errors").alias("more"))
    if bad.limit(1).count() == 0:
        return found
    errors = F.coalesce("more", "errors")
    joined = found.prints.join(bad, ORDER, "left").withColumn("errors", errors).drop("more")
    staged = work.stage("prints", joined)
    return replace(found, prints=staged, tallies=tally(count_prints(staged)))
