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

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.never import read_never
from imgdedup_spark.hash.apart import NUMBER, apart
from imgdedup_spark.hash.prints import Prints, lane
from imgdedup_spark.hash.problems import has_errors
from imgdedup_spark.hash.stage import hash_rows
from imgdedup_spark.hash.tallies import size_range
from imgdedup_spark.index.manifest import Index, Run, State, is_index
from imgdedup_spark.index.packed import PACKED
from imgdedup_spark.index.spec import check_spec, index_schema
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.read.open import read_beside
from imgdedup_spark.read.source import ORDER, Source
from imgdedup_spark.spark.joins import BROADCAST_KEYS, join_few, keepers, number
from imgdedup_spark.spark.workspace import Stage
from imgdedup_spark.spark.written import read_back

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class References:
    """Attributes:
    frame: ``rank`` (from 0), ``id`` (string), ``images``, ``flat``, ``texthash``, ``imagehash``, ``verify0``, … or
        ``vector``, and maybe ``views``
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

    def keyed(self, kind: Prints, excluded: Exclusions | None = None) -> DataFrame:
        """``key``, ``images`` and ``rank`` of the references; of those with the same key the first. If rows are
        excluded, also ``number``, and they have keys of their own."""
        keyed = self.frame.where(kind.has_key()).select("rank", lane().alias("images"), kind.key().alias("key"))
        if excluded is not None:
            keyed = apart(keyed, excluded.references, "rank")
        if self.distinct:
            return keyed
        more = [] if excluded is None else [NUMBER]
        return keyed.groupBy("key", "images", *more).agg(F.min("rank").alias("rank"))

    def shuffled_rows(self, kind: Prints, rows: int) -> int:
        """How many of the references may go through a shuffle when so many rows are compared with them.

        None while the rows are few enough to be broadcast instead, unless equal references must be found first.
        """
        as_they_are = self.distinct or (self.packed is not None and kind.is_near())
        few = rows <= BROADCAST_KEYS and kind.looked_up
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


@dataclass(frozen=True)
class Past:
    """What a run asks for of what was there before it.

    Attributes:
        against: data sets and indexes, as given, and where an index would lie.
        input_format: of the data sets among them whose files do not tell it.
        index: the run's own index, without what the run has added to it before.
    """

    against: Sequence[tuple[str, str]] = ()
    input_format: str | None = None
    index: tuple[Index, State] | None = None

    def __bool__(self) -> bool:
        return bool(self.against) or self.index is not None


NOTHING = Past()


def recorded_pairs(past: Past) -> list[pa.Table]:
    """The pairs of ids that earlier runs never matched, as the indexes have them."""
    indexes = [Index(folder) for _, folder in past.against if is_index(folder)]
    known = [(index, index.read()) for index in indexes] + ([past.index] if past.index else [])
    return [read_never(index.pairs(run)) for index, state in known for run in state.runs if run.never]


def gather(spark: SparkSession, kind: Prints, stage: Stage, past: Past) -> References:
    """All references of a run.

    Args:
        stage: freezes a DataFrame.

    Raises:
        UserError: a data set cannot be read, or an index was made with other options.
    """
    parts: list[References] = []
    for path, folder in past.against:
        if is_index(folder):
            state = Index(folder).read()
            check_spec(state, kind, f"--against {path}")
            parts.append(_of_index(spark, Index(folder), state, kind))
            parts[-1].read.append({"against": path, "rows": parts[-1].rows, "rows_with_errors": 0})
        else:
            parts.append(_of_data(_read(spark, path, past.input_format), path, kind, stage))
    base = sum(part.rows for part in parts)
    if past.index is not None:
        parts.append(_of_index(spark, *past.index, kind))
    return _joined(parts, base)


def _joined(parts: Sequence[References], base: int) -> References:
    start, frames, packed = 0, [], []
    for part in parts:
        frames.append(_later(part.frame, "rank", start))
        if part.packed is not None:
            packed.append(_later(part.packed, "base", start))
        start += part.rows
    digits = widest([part.digits for part in parts])
    read = [one for part in parts for one in part.read]
    distinct = len(parts) == 1 and parts[0].distinct
    all_packed = reduce(DataFrame.unionByName, packed) if len(packed) == len(parts) else None
    return References(reduce(DataFrame.unionByName, frames), start, base, distinct, digits, all_packed, read)


def _later(frame: DataFrame, rank: str, start: int) -> DataFrame:
    """The same with ranks from ``start`` on."""
    return frame.withColumn(rank, F.col(rank) + F.lit(start)) if start else frame


def widest(ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The range of several; (0, 0) is that of nothing."""
    some = [one for one in ranges if one != (0, 0)]
    return (min(low for low, _ in some), max(high for _, high in some)) if some else (0, 0)


def _columns(kind: Prints) -> list[str]:
    return ["rank", "id", "images", "flat", "texthash", *kind.columns, *kind.beside]


def _of_index(spark: SparkSession, index: Index, state: State, kind: Prints) -> References:
    schema = index_schema(kind)
    runs = [run for run in state.runs if run.rows]
    frame = spark.createDataFrame([], schema)
    if runs:
        frame = read_back(spark, schema, *[index.path(run.folder) for run in runs])
    frame = kind.comparable(frame)
    if not runs:
        empty = frame.withColumn("rank", F.col("position"))
        packed = spark.createDataFrame([], f"{PACKED}, base bigint")
        return References(empty.select(*_columns(kind)), 0, 0, True, packed=packed)
    bases = spark.createDataFrame(_bases(runs), "run string, base bigint")
    # A line a run.
    ranked = frame.join(F.broadcast(bases), "run").withColumn("rank", F.col("base") + F.col("position"))
    digits = widest([run.digits for run in runs])
    distinct = all(run.distinct for run in runs)
    packed = None
    if all(run.packed for run in runs):
        read = read_back(spark, f"run string, {PACKED}", *[index.path(run.packed) for run in runs])
        packed = read.join(F.broadcast(bases), "run").drop("run")
    return References(ranked.select(*_columns(kind)), sum(run.rows for run in runs), 0, distinct, digits, packed)


def _bases(runs: Sequence[Run]) -> list[tuple[str, int]]:
    bases, start = [], 0
    for run in runs:
        bases.append((run.run, start))
        start += run.rows
    return bases


def _of_data(source: Source, path: str, kind: Prints, stage: Stage) -> References:
    """A data set, hashed as the run's own rows are."""
    config = kind.config
    id_col = config.id_col if config.id_col in source.columns else None
    kind = replace(
        kind,
        config=replace(
            config,
            id_col=id_col,
            keep="first",
            background_set=None,
            emit_hashes=False,
            on_error=config.on_error and "keep",
        ),
    )
    try:
        kind.check(source)
        hashed = hash_rows(source, kind, lambda name, frame: stage(f"reference_{name}", frame))
    except UserError as error:
        raise UserError(f"--against {path}: {error}") from None
    bad = sum(one.rows_with_errors for one in hashed.tallies.values())
    if bad:
        log.warning("--against %s: %s rows with unreadable images are compared with nothing", path, f"{bad:,}")
    placed = source.placed(hashed.frame, hashed.counts, id_col, stage).prints
    columns = [name for name in _columns(kind) if name not in ("rank", "id")]
    good = placed.where(~has_errors()).select(ORDER, F.col("id").cast("string").alias("id"), *columns)
    numbered, rows = number(good, ORDER, "rank", stage)
    read = [{"against": path, "rows": rows, "rows_with_errors": bad}]
    digits = size_range(hashed.counts)
    return References(numbered.select(*_columns(kind)), rows, 0, False, digits, read=read)


def _read(spark: SparkSession, path: str, input_format: str | None) -> Source:
    try:
        return read_beside(spark, path, input_format)
    except UserError as error:
        raise UserError(str(error).replace("--input ", "--against ", 1)) from None
