"""Splits of a data set, and which rows of each are in which other: what ``imgdedup leaks`` tells.

Every split is hashed once, and every ordered pair of splits is compared by itself: a row is in another split if any row
there is within the threshold, whatever stays of either in a deduplication.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType

from imgdedup_spark.clock import Clock
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small
from imgdedup_spark.hash.background import with_background
from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.problems import has_errors
from imgdedup_spark.hash.stage import Hashed, hash_rows, prints_of
from imgdedup_spark.hash.store import PrintStore
from imgdedup_spark.hash.tallies import Tally, size_range
from imgdedup_spark.index.references import References, widest
from imgdedup_spark.keep.at_once import Earlier, decide_at_once
from imgdedup_spark.keep.compared import whole_keys
from imgdedup_spark.keep.drop import dropped_rows
from imgdedup_spark.keep.flats import keys_of_stand_ins
from imgdedup_spark.keep.rank import ranked
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.match.against import found_in
from imgdedup_spark.match.decide import decide
from imgdedup_spark.pipeline import place, too_many
from imgdedup_spark.read.columns import named_columns
from imgdedup_spark.read.source import ORDER, Placed, Source, or_nulls
from imgdedup_spark.spark.joins import join_few, keepers
from imgdedup_spark.spark.local import from_driver, to_driver
from imgdedup_spark.spark.settings import small_shuffles
from imgdedup_spark.spark.workspace import Workspace

#: In the order of ``pairs``.
_COLUMNS = ("split", "id", "other_split", "other_id", "distance", "reason")
_EMPTY = pa.schema([(name, pa.float64() if name == "distance" else pa.string()) for name in _COLUMNS])


@dataclass(frozen=True)
class Split:
    """A split whose rows have been looked at.

    Attributes:
        table: its prints in the driver, if they are few.
    """

    name: str
    placed: Placed
    kind: Prints
    tally: Tally
    table: pa.Table | None


@dataclass(frozen=True)
class Overlaps:
    """Which rows are in which split.

    Attributes:
        splits: in the order given; the first one is for training.
        tables, frames: by (split, other): of every row of the split that is in the other ``id``, ``other_id``,
            ``distance``, ``reason``; of a split and itself, of every row that a deduplication of it would drop. Either
            in the driver or in Spark.
        counts: by (split, other) the rows by reason.
    """

    splits: tuple[Split, ...]
    tables: Mapping[tuple[str, str], pa.Table]
    frames: Mapping[tuple[str, str], DataFrame]
    counts: Mapping[tuple[str, str], Mapping[str, int]]

    def rows(self, split: str, other: str) -> int | None:
        """How many rows of the split are in the other; None if that was not asked for."""
        found = self.counts.get((split, other))
        return None if found is None else sum(found.values())

    @property
    def leaked(self) -> int:
        """How many rows of the splits but the first are in the first one."""
        train, *tests = (one.name for one in self.splits)
        return sum(self.rows(test, train) or 0 for test in tests)

    @cached_property
    def table(self) -> pa.Table:
        """The pairs that are in the driver, with the names of their splits."""
        return pa.concat_tables([_EMPTY.empty_table(), *(_named(one, *key) for key, one in self.tables.items())])

    def pairs(self, spark: SparkSession) -> DataFrame:
        """All pairs: ``split``, ``id``, ``other_split``, ``other_id``, ``distance``, ``reason``."""
        frames = [
            frame.withColumns({"split": F.lit(split), "other_split": F.lit(other)}).select(*_COLUMNS)
            for (split, other), frame in self.frames.items()
        ]
        return reduce(DataFrame.unionByName, frames, from_driver(spark, self.table))

    @cached_property
    def same_files(self) -> list[dict[str, Any]]:
        """Files that two splits have both read: ``splits``, ``count``, and a few ``examples``."""
        files = {one.name: {state.uri for state in one.placed.source.states} for one in self.splits}
        names, found = list(files), []
        for number, name in enumerate(names):
            for other in names[number + 1 :]:
                both = sorted(files[name] & files[other])
                if both:
                    found.append({"splits": [name, other], "count": len(both), "examples": both[:3]})
        return found


def find_overlaps(
    sources: Mapping[str, Source],
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    store: PrintStore | None = None,
    *,
    within: bool = True,
) -> Overlaps:
    """Looks for the rows of every split in every other.

    Args:
        sources: by name of the split.
        store: where prints are kept meanwhile: what two splits have in common is hashed once.
        within: whether each split is deduplicated by itself, too.

    Raises:
        UserError: a column that the options name is missing or of a wrong type, or something cannot be compared.
        JobError: ``on_error="fail"`` and an image is unreadable.
    """
    if config.stages or config.never:
        raise UserError(
            f"{'`stages`' if config.stages else '--never'}: splits are compared in one way, row by row; leave it out"
        )
    # Whoever comes first in the input is named, whatever rule would keep another.
    splits = look_at(sources, replace(config, keep="first"), work, clock, store)
    spark = splits[0].placed.prints.sparkSession
    tables: dict[tuple[str, str], pa.Table] = {}
    frames: dict[tuple[str, str], DataFrame] = {}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    rows = sum(one.tally.rows for one in splits)
    with clock.stage("match") as entry, small_shuffles(spark, rows):
        for one, other in ((one, other) for one in splits for other in splits if within or one is not other):
            key, table = (one.name, other.name), _at_once(one, other)
            if table is not None:
                tables[key] = table
                found = pc.value_counts(table.column("reason")).to_pylist()
                counts[key] = {each["values"]: each["counts"] for each in found}
            else:
                frames[key] = frame = work.stage("pairs", _by_spark(one, other, work))
                counts[key] = {row["reason"]: row["count"] for row in frame.groupBy("reason").count().collect()}
        entry["rows"] = sum(sum(found.values()) for found in counts.values())
    return Overlaps(tuple(splits), tables, frames, counts)


def repeated(split: Split, work: Workspace) -> pa.Table:
    """The rows that a deduplication of the split alone would drop: ``id``, ``other_id``, ``distance``, ``reason``."""
    found = _at_once(split, split)
    return to_driver(_by_spark(split, split, work)) if found is None else found


def look_at(
    sources: Mapping[str, Source],
    config: DedupConfig,
    work: Workspace,
    clock: Clock,
    store: PrintStore | None = None,
) -> list[Split]:
    """Hashes the rows of every split; arguments and errors as of ``find_overlaps``."""
    ready = {}
    # All of them before the work of the first.
    for name, source in sources.items():
        with _of_split(name):
            ready[name] = source = or_nulls(source, named_columns(config))
            prints_of(config).check(source)
            source.check_ids(config.id_col)
    hashed: dict[str, Hashed] = {}
    spark = next(iter(ready.values())).frame.sparkSession
    prints = with_background(prints_of(config), spark, work.stage, clock)
    known = (0, 0)
    for name, source in ready.items():
        with clock.stage(f"hash {name}") as entry, _of_split(name):
            hashed[name] = here = hash_rows(source, prints, work.stage, store=store, known=known)
            known = widest([known, size_range(here.counts)])
            entry["rows"] = here.rows
    if config.view_names and sum(one.rows for one in hashed.values()) > small.MOST_ROWS:
        raise UserError(too_many(config, sum(one.rows for one in hashed.values())))
    splits = []
    for name, here in hashed.items():
        with _of_split(name), small_shuffles(here.frame.sparkSession, here.rows):
            placed, table = place(ready[name], here, config.id_col, work)
        splits.append(Split(name, placed, here.prints, _sum(here.tallies.values()), table))
    # What only the data tell, a split without usable pictures does not know.
    kind = max(splits, key=lambda one: (one.kind.size or 0, one.tally.images)).kind
    return [replace(one, kind=kind) for one in splits]


@contextmanager
def _of_split(name: str) -> Iterator[None]:
    """Errors that leave it say which split they are about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _sum(tallies: Iterable[Tally]) -> Tally:
    every = list(tallies)
    names = ("rows", "images", "rows_with_errors", "animated")
    return Tally(*(sum(getattr(one, name) for one in every) for name in names))


def _at_once(one: Split, other: Split) -> pa.Table | None:
    """The rows of one split that are in the other, in the driver; None if they are too many for it."""
    if one.table is None or other.table is None or len(one.table) + len(other.table) > small.MOST_ROWS:
        return None
    if one is other:
        decided = decide_at_once(one.table, one.kind, None, Exclusions())
        if decided is None:
            return None
        found, kept = decided.dropped, "kept_order"
    else:
        there = other.table.filter(pa.array(~small.has_errors(other.table)))
        earlier = Earlier(there.append_column("rank", there.column(ORDER)), len(other.table))
        decided = decide_at_once(one.table, one.kind, earlier, Exclusions(), among=False)
        if decided is None:
            return None
        found, kept = decided.dropped.filter(pc.is_valid(decided.dropped.column("reference"))), "reference"
    mine = one.table.take(pc.index_in(found.column(ORDER), value_set=one.table.column(ORDER)))
    theirs = other.table.take(pc.index_in(found.column(kept), value_set=other.table.column(ORDER)))
    ids = {"id": _texts(mine.column("id")), "other_id": _texts(theirs.column("id"))}
    if isinstance(one.kind, Hashes):
        # Nothing is near flat pictures.
        flat = pc.and_(pc.is_valid(mine.column("flat")), pc.is_valid(theirs.column("flat")))
        same = pc.or_(pc.equal(whole_keys(mine, one.kind), whole_keys(theirs, one.kind)), flat)
        reason = pc.if_else(same, "same_hash", "near_hash")
    else:
        reason = pc.if_else(pc.is_valid(found.column("similarity")), "near_embedding", "same_hash")
    return pa.table({**ids, "distance": found.column("distance"), "reason": reason})


def _texts(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_binary(ids.type) or pa.types.is_large_binary(ids.type):
        return pa.chunked_array([pa.array([one.hex() for one in ids.to_pylist()], pa.string())])
    return ids.cast(pa.string())


def _named(table: pa.Table, split: str, other: str) -> pa.Table:
    names = {"split": pa.array([split] * len(table)), "other_split": pa.array([other] * len(table))}
    columns = {name: names.get(name, table.column(name) if name in table.column_names else None) for name in _COLUMNS}
    return pa.table(columns).cast(_EMPTY)


def _by_spark(one: Split, other: Split, work: Workspace) -> DataFrame:
    """As ``_at_once``, of any number of rows."""
    kind = one.kind
    known = None if one is other else _references(other)
    rows = ranked(kind.keyed(one.placed.prints), kind.config, work.stage)
    rows = keys_of_stand_ins(rows, one.placed.prints, kind, known)
    if known is None:
        found = dropped_rows(rows, decide(rows, kind, work.stage), kind).drop("reference")
        found = found.withColumnRenamed("kept_order", "reference")
    else:
        found = found_in(rows, kind, work.stage, known)
    found = work.stage("found_rows", found.select(ORDER, "reference", "distance", "reason"))
    ids, theirs = ((split.placed.prints.select(ORDER, text_ids(split.placed.prints))) for split in (one, other))
    few = keepers(found, "reference")
    named = few.join(theirs.select(F.col(ORDER).alias("reference"), F.col("id").alias("other_id")), "reference")
    joined = join_few(found.join(ids, ORDER), named, "reference", few.count())
    return joined.select("id", "other_id", "distance", "reason")


def _references(split: Split) -> References:
    prints = split.placed.prints
    columns = ("images", "flat", "texthash", *split.kind.columns)
    frame = prints.where(~has_errors()).select(F.col(ORDER).alias("rank"), text_ids(prints), *columns)
    return References(frame, split.tally.rows, split.tally.rows, distinct=False)


def text_ids(prints: DataFrame) -> Column:
    """``id`` as a string."""
    is_binary = isinstance(prints.schema["id"].dataType, BinaryType)
    return (F.lower(F.hex("id")) if is_binary else F.col("id").cast("string")).alias("id")
