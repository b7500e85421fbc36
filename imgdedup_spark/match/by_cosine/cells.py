"""Blocking as a Spark stage: fits the cells, puts rows into them and measures what recall that leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, LongType, StructField, StructType

from imgdedup_spark.kernels.arrow import floats
from imgdedup_spark.kernels.cosine.centroids import (
    MAX_PROBES,
    SAMPLE_PER_CELL,
    Cells,
    cell_count,
    choose_probes,
    fit_cells,
    probes_needed,
    synthetic_neighbours,
)
from imgdedup_spark.kernels.cosine.rows import TILE_ROWS, TOLERANCE, Float32
from imgdedup_spark.kernels.cosine.task import read_vectors
from imgdedup_spark.match.by_cosine.search import ROW, CosineOptions, Stage

__all__ = ["into_cells", "sampled"]
# Enough for a recall to two decimals where one row in ten has a close one; a query costs a comparison with every row.
_QUERIES = 4096
# Pairs of one query in one batch (up to 10,000 rows) that are looked at; a query in a dense cluster has thousands.
_PAIRS_PER_BATCH = 64


def sampled(rows: DataFrame, size: int, total: int) -> DataFrame:
    """About ``size`` of ``total`` rows, chosen by their ranks alone: the same whatever the partitions."""
    share = F.lit(min(1.0, size / max(total, 1)) * (1 << 20))
    return rows.where(F.pmod(F.xxhash64("rank"), F.lit(1 << 20)) < share)


def into_cells(
    rows: DataFrame, dims: int, similarity: float, first_block: int, *, stage: Stage, options: CosineOptions
) -> tuple[DataFrame, dict[str, Any]]:
    """Repeats each row for its nearest cells, as many as recall asks for, and makes the cell its block.

    Args:
        rows: ``block`` (of the context) and the columns ``ROW``.
        dims: of the vectors.
        similarity: the least cosine of a match.
        first_block: larger than any block.
        stage: freezes a DataFrame.
        options: which contexts are compared whole.

    Returns:
        The repeated rows, and: ``cells``, ``probes`` (cells for each row), ``recall`` (of the pairs of the sample, the
        lower of the mean over pairs and the mean over queries; None without pairs), ``recall_pairs`` and
        ``recall_queries`` (in that sample), ``recall_at_threshold`` (of made pairs exactly at the threshold),
        ``recall_warning`` (only if the goal was missed), ``cell_comparisons`` (with centroids, and for the sample).
    """
    counts = rows.groupBy("block").agg(F.count("*").alias("rows"), F.count_if(~F.col("is_reference")).alias("items"))
    large = counts.where(F.col("rows") > options.whole_context).collect()
    if not large:
        return rows, {"cells": 0, "probes": 1, "recall": 1.0, "cell_comparisons": 0}
    total = sum(row["rows"] for row in large)
    items = sum(row["items"] for row in large)
    count = cell_count(total)
    plan = [
        (int(row["block"]), int(first_block + i * count))
        for i, row in enumerate(sorted(large, key=lambda r: r["block"]))
    ]
    known = F.broadcast(rows.sparkSession.createDataFrame(plan, "block bigint, first bigint"))
    cells = _fit(rows.join(known, "block", "left_semi"), dims, count, total)
    assigned = stage("embedding_cells", _assign(rows.join(known, "block", "left"), cells))

    sample = _Sample.collect(assigned.where("first is not null"), dims, items)
    least = similarity + sample.background
    needed = _measure(assigned.where("first is not null"), sample, least)
    possible = sample.vectors[least <= 1]
    made = synthetic_neighbours(possible, least[least <= 1])
    made_needed = probes_needed(cells.nearest(possible), cells.nearest(made))
    report = choose_probes(needed, made_needed)
    report |= {"cells": count, "cell_comparisons": total * (count + len(sample.vectors))}

    chosen = F.slice("cells", 1, report["probes"])
    return assigned.withColumn("block", F.explode(chosen)).select("block", *ROW), report


def _fit(rows: DataFrame, dims: int, count: int, total: int) -> Cells:
    """k-means on a sample, in one Python worker; the driver gets the centroids alone."""

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = fit_cells(read_vectors(batches, dims), count)
        yield pa.RecordBatch.from_arrays([pa.array([found.centroids.tobytes()], pa.binary())], ["centroids"])

    sample = sampled(rows, SAMPLE_PER_CELL * count, total).select("rank", "vector").coalesce(1)
    centroids = b"".join(bytes(row["centroids"]) for row in sample.mapInArrow(fit, "centroids binary").collect())
    return Cells(np.frombuffer(centroids, np.float32).reshape(-1, dims))


def _assign(rows: DataFrame, cells: Cells) -> DataFrame:
    """Adds ``cells``, array<bigint>: the blocks of a row's nearest cells, or its own block where ``first`` is null."""
    dims = cells.centroids.shape[1]

    def assign(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            first = batch.column("first")
            nearest = cells.nearest(floats(batch.column("vector"), dims)).astype(np.int64)
            in_cells = first.is_valid().to_numpy(zero_copy_only=False)
            blocks = nearest + first.fill_null(0).to_numpy()[:, None]
            flat = np.where(in_cells[:, None], blocks, batch.column("block").to_numpy()[:, None])
            width = np.where(in_cells, nearest.shape[1], 1)
            flat = flat[np.arange(nearest.shape[1])[None, :] < width[:, None]]
            offsets = np.concatenate([[0], np.cumsum(width)]).astype(np.int32)
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
            yield pa.RecordBatch.from_arrays([*batch.columns, lists], [*batch.schema.names, "cells"])

    taken = rows.select("block", "first", *ROW)
    return taken.mapInArrow(assign, StructType([*taken.schema.fields, StructField("cells", ArrayType(LongType()))]))


@dataclass(frozen=True)
class _Sample:
    """Queries whose neighbours are all looked for: (q,) ranks and context blocks, (q, d) vectors, (q, probes) cells,
    and (q,) what is taken off their cosines, of several images the mean."""

    rank: NDArray[np.int64]
    block: NDArray[np.int64]
    vectors: Float32
    cells: NDArray[np.int64]
    background: NDArray[np.float64]

    @classmethod
    def collect(cls, assigned: DataFrame, dims: int, items: int) -> _Sample:
        queries = assigned.where(~F.col("is_reference"))
        rows = sampled(queries, _QUERIES, items).select("rank", "block", "vector", "cells", "background").collect()
        rows.sort(key=lambda row: row["rank"])
        return cls(
            np.array([row["rank"] for row in rows], np.int64),
            np.array([row["block"] for row in rows], np.int64),
            np.frombuffer(b"".join(bytes(row["vector"]) for row in rows), np.float32).reshape(-1, dims),
            np.array([row["cells"] for row in rows], np.int64),
            np.array([np.frombuffer(row["background"] or bytes(4), "<f4").mean() for row in rows], np.float64),
        )


def _measure(assigned: DataFrame, sample: _Sample, similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    """(queries, MAX_PROBES + 1) int64: of each query's close rows, how many are found first with 1, 2, … probes.

    The last column counts those that no number of probes finds. All rows are compared with the queries.
    """

    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts = np.zeros((len(sample.rank), MAX_PROBES + 1), np.int64)
        for batch in batches:
            vectors = floats(batch.column("vector"), sample.vectors.shape[1])
            rank, block = batch.column("rank").to_numpy(), batch.column("block").to_numpy()
            is_reference = batch.column("is_reference").to_numpy(zero_copy_only=False)
            cells = batch.column("cells").flatten().to_numpy().reshape(len(rank), -1)
            for start in range(0, len(sample.rank), TILE_ROWS):
                part = slice(start, start + TILE_ROWS)
                close = sample.vectors[part] @ vectors.T >= similarity[part, None] - TOLERANCE
                query, row = np.nonzero(close)
                place = np.arange(len(query)) - np.searchsorted(query, query)
                query, row = query[place < _PAIRS_PER_BATCH] + start, row[place < _PAIRS_PER_BATCH]
                other = is_reference[row] | (rank[row] != sample.rank[query])
                other &= block[row] == sample.block[query]
                query, row = query[other], row[other]
                np.add.at(counts, (query, probes_needed(sample.cells[query], cells[row]) - 1), 1)
        query, needed = np.nonzero(counts)
        yield pa.RecordBatch.from_arrays(
            [pa.array(query), pa.array(needed), pa.array(counts[query, needed])], ["query", "needed", "pairs"]
        )

    found = assigned.select("vector", "rank", "block", "is_reference", "cells")
    found = found.mapInArrow(measure, "query bigint, needed bigint, pairs bigint")
    counts = np.zeros((len(sample.rank), MAX_PROBES + 1), np.int64)
    for row in found.groupBy("query", "needed").agg(F.sum("pairs").alias("pairs")).collect():
        counts[row["query"], row["needed"]] = row["pairs"]
    return counts
