"""References: rows that were there before this run, from ``--against`` and from ``--index``.

They come before all rows of the run, are kept once and for all, and nothing is decided among them. Their ranks are
numbers of their own: the data sets and indexes of ``--against`` in the order given, then the index, run by run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.fingerprints import fingerprint
from imgdedup_spark.hash.keys import has_key, key_of
from imgdedup_spark.hash.measure import measure_vectors
from imgdedup_spark.hash.prints import count_prints, key_parts, lengths_of
from imgdedup_spark.hash.vectors import to_vectors
from imgdedup_spark.index.manifest import Index, Run, State, is_index
from imgdedup_spark.index.packed import PACKED
from imgdedup_spark.index.spec import check_spec, index_schema
from imgdedup_spark.read.columns import check_columns
from imgdedup_spark.read.files import read_source
from imgdedup_spark.read.order import attach, find_pieces
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.joins import BROADCAST_KEYS, join_few, keepers, number
from imgdedup_spark.spark.settings import picture_settings
from imgdedup_spark.spark.workspace import Stage

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class References:
    """Attributes:
    frame: ``rank`` (from 0), ``id`` (string), ``images``, ``texthash``, ``imagehash``, ``verify0``, … or ``vector``
    rows: how many they are.
    index_base: the rank from which on they are the index's.
    distinct: whether no two of them have the same key.
    digits: fewest and most hex digits of their hashes, or numbers in an embedding; (0, 0) without any, or where it
        does not matter.
    packed: the same references with images (see ``packed``), and ``base``, the rank of position 0; None unless
        indexes keep them for all.
    read: for summary.json, what ``--against`` named and what was found there.
    """

    frame: DataFrame
    rows: int
    index_base: int
    distinct: bool
    digits: tuple[int, int] = (0, 0)
    packed: DataFrame | None = None
    read: list[dict[str, Any]] = field(default_factory=list)

    def keyed(self, config: DedupConfig) -> DataFrame:
        """``key``, ``images`` and ``rank`` of the references; of those with the same key the first."""
        keyed = self.frame.where(has_key(config)).select("rank", "images", key_of(config).alias("key"))
        if self.distinct:
            return keyed
        return keyed.groupBy("key", "images").agg(F.min("rank").alias("rank"))

    def shuffled_rows(self, config: DedupConfig, rows: int) -> int:
        """How many of the references may go through a shuffle when so many rows are compared with them.

        None while the rows are few enough to be broadcast instead, unless equal references must be found first.
        """
        as_they_are = self.distinct or (config.threshold > 0 and self.packed is not None)
        few = rows <= BROADCAST_KEYS and not config.is_embedding
        return 0 if as_they_are and few else self.rows

    def reason(self) -> Column:
        """Of a dropped row, from its ``reference`` and the reason it has."""
        kind = F.when(F.col("reference") < self.index_base, "in_reference").otherwise("in_index")
        return F.when(F.col("reference").isNull(), F.col("reason")).otherwise(kind)

    def named(self, dropped: DataFrame) -> DataFrame:
        """Adds ``kept_id`` (string) to dropped rows that have a ``reference``."""
        few = keepers(dropped, "reference")
        count = few.count()
        ids = self.frame.select(F.col("rank").alias("reference"), F.col("id").alias("kept_id"))
        named = join_few(ids, few, "reference", count)
        return join_few(dropped, named, "reference", count).drop("size")


def gather(
    spark: SparkSession,
    config: DedupConfig,
    against: Sequence[tuple[str, str]],
    input_format: str | None,
    index: tuple[Index, State] | None,
    stage: Stage,
) -> References | None:
    """All references of a run; None if it has no such options.

    Args:
        against: data sets and indexes, as given, and where an index would lie.
        index: the run's own index, without what the run has added to it before.
        stage: freezes a DataFrame.

    Raises:
        UserError: a data set cannot be read, or an index was made with other options.
    """
    if not against and index is None:
        return None
    parts: list[References] = []
    for path, folder in against:
        if is_index(folder):
            state = Index(folder).read()
            check_spec(state, config, f"--against {path}")
            parts.append(_of_index(spark, Index(folder), state, config))
            parts[-1].read.append({"against": path, "rows": parts[-1].rows, "rows_with_errors": 0})
        else:
            parts.append(_of_data(spark, path, input_format, config, stage))
    base = sum(part.rows for part in parts)
    if index is not None:
        parts.append(_of_index(spark, *index, config))
    return _joined(parts, base)


def _joined(parts: Sequence[References], base: int) -> References:
    start, frames, packed = 0, [], []
    for part in parts:
        frames.append(_later(part.frame, "rank", start))
        if part.packed is not None:
            packed.append(_later(part.packed, "base", start))
        start += part.rows
    lengths = [part.digits for part in parts if part.digits != (0, 0)]
    digits = (min(low for low, _ in lengths), max(high for _, high in lengths)) if lengths else (0, 0)
    read = [one for part in parts for one in part.read]
    distinct = len(parts) == 1 and parts[0].distinct
    all_packed = reduce(DataFrame.unionByName, packed) if len(packed) == len(parts) else None
    return References(reduce(DataFrame.unionByName, frames), start, base, distinct, digits, all_packed, read)


def _later(frame: DataFrame, rank: str, start: int) -> DataFrame:
    """The same with ranks from ``start`` on."""
    return frame.withColumn(rank, F.col(rank) + F.lit(start)) if start else frame


def _columns(config: DedupConfig) -> list[str]:
    return ["rank", "id", "images", "texthash", *key_parts(config)]


def _of_index(spark: SparkSession, index: Index, state: State, config: DedupConfig) -> References:
    schema = index_schema(config)
    runs = [run for run in state.runs if run.rows]
    frame = spark.createDataFrame([], schema)
    if runs:
        frame = spark.read.schema(schema).parquet(*[index.path(run.folder) for run in runs])
    if config.is_embedding:
        frame = to_vectors(frame)
    if not runs:
        empty = frame.withColumn("rank", F.col("position"))
        packed = spark.createDataFrame([], f"{PACKED}, base bigint")
        return References(empty.select(*_columns(config)), 0, 0, True, packed=packed)
    bases = spark.createDataFrame(_bases(runs), "run string, base bigint")
    # A line a run.
    ranked = frame.join(F.broadcast(bases), "run").withColumn("rank", F.col("base") + F.col("position"))
    lengths = [run.digits for run in runs if run.digits != (0, 0)]
    digits = (min(low for low, _ in lengths), max(high for _, high in lengths)) if lengths else (0, 0)
    distinct = all(run.distinct for run in runs)
    packed = None
    if all(run.packed for run in runs):
        read = spark.read.schema(f"run string, {PACKED}").parquet(*[index.path(run.packed) for run in runs])
        packed = read.join(F.broadcast(bases), "run").drop("run")
    return References(ranked.select(*_columns(config)), sum(run.rows for run in runs), 0, distinct, digits, packed)


def _bases(runs: Sequence[Run]) -> list[tuple[str, int]]:
    bases, start = [], 0
    for run in runs:
        bases.append((run.run, start))
        start += run.rows
    return bases


def _of_data(spark: SparkSession, path: str, input_format: str | None, config: DedupConfig, stage: Stage) -> References:
    """A data set, hashed as the run's own rows are."""
    source = _read(spark, path, input_format)
    has_id = config.id_col is not None and config.id_col in source.columns
    config = replace(config, id_col=config.id_col if has_id else None, keep="first")
    try:
        check_columns(source.schema, config)
        prints = fingerprint(source, config)
    except UserError as error:
        raise UserError(f"--against {path}: {error}") from None
    with picture_settings(spark, config):
        prints = stage("reference_fingerprints", prints)
    digits = (0, 0)
    if config.is_embedding:
        prints, measured = measure_vectors(prints, config, digits)
        digits = (measured.dimensions or 0, measured.dimensions or 0)
    counts = count_prints(prints, source.in_pieces)
    if config.hash_col:
        lengths = lengths_of(counts)
        digits = (min(lengths), max(lengths)) if lengths else digits
    bad = sum(one["errors"] for one in counts)
    if bad:
        log.warning("--against %s: %s rows with unreadable images are compared with nothing", path, f"{bad:,}")
    pieces = find_pieces(counts, source) if source.in_pieces else []
    placed = attach(prints, source, pieces, config.id_col, stage)
    columns = [name for name in _columns(config) if name not in ("rank", "id")]
    good = placed.where(F.size("errors") == 0).select("order", F.col("id").cast("string").alias("id"), *columns)
    numbered, rows = number(good, "order", "rank", stage)
    read = [{"against": path, "rows": rows, "rows_with_errors": bad}]
    return References(numbered.select(*_columns(config)), rows, 0, False, digits, read=read)


def _read(spark: SparkSession, path: str, input_format: str | None) -> Source:
    try:
        return read_source(spark, [path], None)
    except UserError as error:
        if input_format is not None and "--input-format" in str(error):
            return read_source(spark, [path], input_format)
        raise UserError(str(error).replace("--input ", "--against ", 1)) from None
