"""Embeddings → who stays: the first-come rule over cosine similarity, as a Spark stage.

Up to a limit all pairs are compared, with recall 1; beyond it only rows that share a cell, with a recall that is
measured in every run. Either way the pairs that count are computed exactly, and the rule is applied to all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, StructField, StructType

from imgdedup_spark.kernels.arrow import floats
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.kernels.cosine.background import in_common
from imgdedup_spark.kernels.cosine.prefilter import PREFILTER_FROM, SAMPLE, Prefilter, fit_prefilter
from imgdedup_spark.kernels.cosine.rows import FROM_START, NO_SEARCH, Float32
from imgdedup_spark.kernels.cosine.task import Search, read_vectors
from imgdedup_spark.match.by_cosine.cells import into_cells, sampled
from imgdedup_spark.match.by_cosine.search import ROW, CosineOptions, Stage, search_and_decide

__all__ = ["first_come", "with_background"]
_DEFAULTS = CosineOptions()


@dataclass(frozen=True)
class _Facts:
    """What one look at the input tells: counts of rows, the vectors' dimensions, the largest rank."""

    items: int
    references: int
    dims: int
    one_context: bool
    largest_rank: int


def first_come(
    items: DataFrame,
    similarity: float,
    *,
    stage: Stage,
    references: DataFrame | None = None,
    want_max: bool = False,
    images: int = 1,
    excluded: Exclusions | None = None,
    options: CosineOptions = _DEFAULTS,
) -> tuple[DataFrame, dict[str, Any]]:
    """Decides for every item, in the order of rank, whether an already kept row is close to it.

    An item is dropped if a reference, or an item that was kept before it, has a cosine of at least ``similarity``
    (less 1e-6, the rounding of single-precision vectors); it names the earliest such row, references first. The
    cosine that counts is computed in double precision from the vectors as they are, in a fixed order of summation,
    so that the result does not depend on partitions or tiles. A vector of zeros matches nothing. The cosine of rows
    of several images is the least of those of their images, place by place; where rows share cells, the recall is
    that of rows whose mean cosine is high enough, which are more.

    Args:
        items: ``rank`` bigint (unique), ``vector`` binary (little-endian float32, finite, of length 1, all of one
            number of dimensions; those of several images one after another), maybe ``context`` binary (only rows of
            equal context may match) and maybe ``background`` binary (float32 for each image, taken off its cosines
            with earlier rows). Read several times: give a DataFrame that is cheap to read again.
        similarity: the least cosine of a match.
        stage: freezes a DataFrame under a name, by writing it and reading it back or by persisting it.
        references: the same columns; rows that are kept and come before all items. Their ranks are their own.
        want_max: also compute each item's highest cosine with any other row of its context (beyond all-pairs: with
            any other that it was compared with). Costs the full product of all pairs, where the decisions alone
            need a part of it.
        images: how many images each row has.
        excluded: pairs that never match, by rank.
        options: see :class:`CosineOptions`.

    Returns:
        A DataFrame with one row an item, ``rank``, ``keeper`` (null: the item is kept), ``is_reference`` (whether the
        keeper is a reference), ``similarity`` (with the keeper; 1.0 for a kept item) and, with ``want_max``,
        ``max_similarity`` (to 1e-5; null without any other row).

        And a report: ``path`` (``all_pairs`` or ``blocked``), ``items``, ``references``, ``dropped``, ``dimensions``,
        ``compared_dimensions``, ``comparisons`` (pairs that went through a product, those with centroids included),
        ``all_pairs_comparisons`` (how many all-pairs would make), ``rounds``, ``recall`` (1.0, or as measured; None
        if the sample had no pair); for ``blocked`` also what :func:`~imgdedup_spark.embeddings.cells.into_cells`
        reports.

    Raises:
        ValueError: vectors of different lengths.
    """
    rows = _with_references(items, references)
    if images > 1:
        rows = _scaled(rows, 1 / np.sqrt(images))
    facts = _look(rows)
    rows, pairs = _into_contexts(rows, facts, stage)
    blocked = pairs > options.all_pairs_limit
    report: dict[str, Any] = {
        "path": "blocked" if blocked else "all_pairs",
        "items": facts.items,
        "references": facts.references,
        "dimensions": facts.dims,
        "all_pairs_comparisons": pairs,
        "recall": 1.0,
    }
    prefilter = Prefilter()
    if not want_max and pairs >= PREFILTER_FROM:
        prefilter = _fit_prefilter(rows, facts, similarity)
    report["compared_dimensions"] = facts.dims if prefilter.basis is None else prefilter.basis.shape[1] + 1

    total, extra = facts.items + facts.references, 0
    if blocked:
        rows, found = into_cells(rows, facts.dims, similarity, facts.largest_rank + 1, stage=stage, options=options)
        total, extra = total * found["probes"], found.pop("cell_comparisons")
        report |= found

    search = Search(facts.dims, similarity, prefilter, want_max, images)
    one_block = facts.one_context and not blocked
    decided, highest, counts = search_and_decide(
        rows, total, one_block, search, stage, options, excluded or Exclusions()
    )
    report |= counts
    report["comparisons"] += extra
    decisions = items.select("rank").join(decided.where("keeper is not null"), "rank", "left")
    decisions = decisions.select(
        "rank",
        "keeper",
        F.coalesce("is_reference", F.lit(False)).alias("is_reference"),
        F.coalesce("similarity", F.lit(1.0)).alias("similarity"),
    )
    if highest is not None:
        decisions = decisions.join(highest, "rank", "left")
    return decisions, report


def with_background(items: DataFrame, background: Float32, images: int) -> DataFrame:
    """Adds ``background`` to items of so many images, as ``first_come`` takes it.

    Args:
        background: (k, dims) the vectors of the background set.
    """
    dims = background.shape[1]

    def add(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors = floats(batch.column("vector"), images * dims).reshape(-1, dims)
            common = in_common(vectors, background).reshape(-1, images)
            column = pa.array([one.tobytes() for one in common], pa.binary())
            yield pa.RecordBatch.from_arrays([*batch.columns, column], [*batch.schema.names, "background"])

    return items.mapInArrow(add, StructType([*items.schema.fields, StructField("background", BinaryType())]))


def _with_references(items: DataFrame, references: DataFrame | None) -> DataFrame:
    """Items and references in one DataFrame; each item searches from the start, references do not search."""

    def select(rows: DataFrame, is_reference: bool) -> DataFrame:
        context, background = (
            F.col(name) if name in rows.columns else F.lit(None) for name in ("context", "background")
        )
        return rows.select(
            F.coalesce(context, F.lit(b"")).cast("binary").alias("context"),
            F.lit(is_reference).alias("is_reference"),
            "rank",
            F.lit(NO_SEARCH if is_reference else FROM_START).cast("bigint").alias("cursor"),
            "vector",
            background.cast("binary").alias("background"),
        )

    rows = select(items, False)
    return rows if references is None else rows.unionByName(select(references, True))


def _scaled(rows: DataFrame, factor: float) -> DataFrame:
    """The rows with shorter vectors."""

    def scale(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            place = batch.schema.get_field_index("vector")
            columns = list(batch.columns)
            shorter = [(np.frombuffer(one, "<f4") * factor).astype("<f4").tobytes() for one in batch[place].to_pylist()]
            columns[place] = pa.array(shorter, pa.binary())
            yield pa.RecordBatch.from_arrays(columns, batch.schema.names)

    return rows.mapInArrow(scale, rows.schema)


def _look(rows: DataFrame) -> _Facts:
    """Counts and sizes, and the check that all vectors have one length."""
    row = rows.agg(
        F.count_if(~F.col("is_reference")).alias("items"),
        F.count_if("is_reference").alias("references"),
        F.min(F.length("vector")).alias("shortest"),
        F.max(F.length("vector")).alias("longest"),
        (F.min("context") == F.max("context")).alias("one_context"),
        F.max(F.when(~F.col("is_reference"), F.col("rank"))).alias("largest_rank"),
    ).first()
    shortest, longest = row["shortest"] or 0, row["longest"] or 0
    if shortest != longest or longest % 4:
        raise ValueError(f"embeddings differ in length: from {shortest / 4:g} to {longest / 4:g} float32 numbers")
    one_context = row["one_context"] is not False
    return _Facts(row["items"], row["references"], longest // 4, one_context, row["largest_rank"] or 0)


def _into_contexts(rows: DataFrame, facts: _Facts, stage: Stage) -> tuple[DataFrame, int]:
    """Replaces the context by a number, ``block``, drops rows alone in theirs, and counts the pairs that remain."""
    if facts.one_context:
        pairs = facts.items * (facts.items - 1) // 2 + facts.items * facts.references
        return rows.select(F.lit(0).cast("bigint").alias("block"), *ROW), pairs
    item = (~F.col("is_reference")).cast("bigint")
    contexts = rows.groupBy("context").agg(
        # Items have unique ranks, so the least of them names a context.
        F.min(F.when(~F.col("is_reference"), F.col("rank"))).alias("block"),
        F.sum(item).alias("items"),
        F.sum(1 - item).alias("references"),
    )
    contexts = stage("embedding_contexts", contexts.where("items > 0 and items + references > 1"))
    pairs = contexts.agg(F.sum(F.expr("items * (items - 1) / 2 + items * references"))).first()[0]
    joined = rows.join(contexts.select("context", "block"), "context")
    # Every search and the sample read these rows; joining the vectors once is enough.
    return stage("embedding_rows", joined.select("block", *ROW)), int(pairs or 0)


def _fit_prefilter(rows: DataFrame, facts: _Facts, similarity: float) -> Prefilter:
    """Chooses the leading directions from a sample, in one Python worker, so that the driver needs no vectors."""
    dims = facts.dims

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        chosen = fit_prefilter(read_vectors(batches, dims), similarity)
        basis = b"" if chosen.basis is None else chosen.basis.tobytes()
        yield pa.RecordBatch.from_arrays([pa.array([basis], pa.binary())], ["basis"])

    total = facts.items + facts.references
    sample = sampled(rows, SAMPLE, total).select("rank", "vector").coalesce(1)
    basis = b"".join(bytes(row["basis"]) for row in sample.mapInArrow(fit, "basis binary").collect())
    if not basis:
        return Prefilter()
    return Prefilter(np.frombuffer(basis, np.float32).reshape(dims, -1))
