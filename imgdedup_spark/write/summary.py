"""The counts of a run, as summary.json and ``DedupResult.summary()`` give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pyspark.sql import functions as F

from imgdedup_spark.hash.tallies import Tally
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.source import INPUT
from imgdedup_spark.versions import versions
from imgdedup_spark.write import small


def summarize(found: Found, stages: Mapping[str, Any]) -> dict[str, Any]:
    """``rows_in = rows_kept + rows_dropped + rows_dropped_on_error``, and what made them."""
    tallies = found.tallies.values()
    rows, images, errors, frames = (
        sum(getattr(one, name) for one in tallies) for name in ("rows", "images", "rows_with_errors", "animated")
    )
    return {
        "rows_in": rows,
        "rows_kept": found.kept_count,
        "rows_dropped": found.dropped_count,
        "rows_dropped_on_error": found.dropped_on_error,
        "rows_with_errors": errors,
        "images": images,
        "frames": frames,
        **_groups(found),
        "distances": _distances(found),
        **_inputs(found),
        **_known(found),
        **({} if found.never is None else {"never": {"pairs": len(found.never), "unknown_ids": len(found.unknown)}}),
        "passed_over": found.source.passed.reasons,
        "plan": found.plan,
        "stages": dict(stages),
        "config": dataclasses.asdict(dataclasses.replace(found.config, on_error=found.config.on_error or "keep")),
        "versions": versions(models=found.kind.uses_models),
    }


def _groups(found: Found) -> dict[str, int]:
    if found.at_once is not None:
        return small.groups(found.at_once)
    largest = found.groups.agg(F.count(F.lit(1)).alias("groups"), F.max("size").alias("largest")).collect()[0]
    size = (largest["largest"] or 0) + 1 if largest["groups"] else 0
    return {"groups": largest["groups"], "largest_group": size}


def _dropped_by(found: Found, column: str) -> Mapping[Any, int]:
    """How many rows were dropped for each value of a column."""
    if found.at_once is not None:
        return small.counts(found.at_once, column)
    return {row[column]: row["count"] for row in found.dropped.groupBy(column).count().collect()}


def _distances(found: Found) -> dict[str, Any]:
    """Distance → rows dropped, those of embeddings to two decimals; for a run in stages one such table for each."""
    if found.at_once is not None:
        return small.distances(found.at_once)
    distance = F.when(F.col("similarity").isNull(), F.col("distance")).otherwise(F.round("distance", 2))
    stage = F.col("stage") if found.config.stages else F.lit(1)
    counts = found.dropped.groupBy(stage.alias("stage"), distance.alias("distance")).count()
    tables: dict[int, dict[str, int]] = {number: {} for number in range(1, len(found.config.steps) + 1)}
    for row in counts.orderBy("stage", "distance").collect():
        tables[row["stage"]][f"{row['distance']:g}"] = row["count"]
    if not found.config.stages:
        return tables[1]
    return {name: tables[number] for number, name in enumerate(found.config.step_names, 1)}


def _inputs(found: Found) -> dict[str, Any]:
    """The counts by input, where rows know which one they come from."""
    if INPUT not in found.dropped.columns or not found.source.inputs:
        return {}
    dropped = _dropped_by(found, INPUT)
    entries = []
    for number, name in enumerate(found.source.inputs):
        here = found.tallies.get(number, Tally())
        gone, errors = dropped.get(number, 0), here.rows_with_errors if found.config.on_error == "drop" else 0
        entry = {"input": name, "rows_in": here.rows, "rows_kept": here.rows - gone - errors, "rows_dropped": gone}
        entries.append(entry | ({"rows_dropped_on_error": errors} if errors else {}))
    return {"inputs": entries}


def _known(found: Found) -> dict[str, Any]:
    """How many rows were there before, and what was read to know it."""
    if found.references is None:
        return {}
    reasons = _dropped_by(found, "reason")
    return {
        "in_index": reasons.get("in_index", 0),
        "in_reference": reasons.get("in_reference", 0),
        "against": found.references.read,
    }
