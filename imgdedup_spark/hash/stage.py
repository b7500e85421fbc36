"""The hash stage: a source in, prints of all its rows out. No image leaves this stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.hash import small
from imgdedup_spark.hash.failing import nearly_all_failed, stop_on_errors
from imgdedup_spark.hash.hashes import Hashes, ReadyHashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.store import File, Group, PrintStore, check_rows, find_files, stored_file
from imgdedup_spark.hash.tallies import Tally, tally
from imgdedup_spark.hash.vectors import ReadyVectors, Vectors
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.local import is_shared
from imgdedup_spark.spark.progress import portion
from imgdedup_spark.spark.settings import parallelism, partition_bytes, picture_settings, settings
from imgdedup_spark.spark.workspace import Stage

#: A group of stored prints is about so many splits for each core: seldom enough that cores wait for the last split of
#: a group, and often enough that a killed run loses little (2 GB a core, some minutes).
WAVES = 16


@dataclass(frozen=True)
class Hashed:
    """What the hash stage returns.

    Attributes:
        frame: one print a row, with ``PLACE`` and/or ``id``; see ``prints`` for its columns.
        prints: what rows are compared by, with what only the data tell.
        counts: how many they are, as ``Source.count`` has them.
        files_reused: files whose prints were stored.
        table: the same prints in the driver, if they are few and it could read them.
    """

    frame: DataFrame
    prints: Prints
    counts: Sequence[Mapping[str, Any]]
    files_reused: int = 0
    tallies: dict[int | None, Tally] = field(default_factory=dict)
    table: pa.Table | None = None

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.tallies.values())


@dataclass(frozen=True)
class Rest:
    """The rows of a source that are still to be looked at.

    Attributes:
        of: a source of all or some of the files → what of it is left.
        name: tells one such rest from another.
    """

    of: Callable[[Source], Source]
    name: str


def prints_of(config: DedupConfig) -> Prints:
    """What rows are compared by, from the options of a run (or of one stage)."""
    if config.is_embedding:
        return ReadyVectors(config) if config.embedding_col else Vectors(config)
    return ReadyHashes(config) if config.hash_col else Hashes(config)


def hash_rows(
    source: Source,
    prints: Prints,
    stage: Stage,
    *,
    store: PrintStore | None = None,
    rest: Rest | None = None,
    known: tuple[int, int] = (0, 0),
) -> Hashed:
    """Hashes the rows of a source.

    Args:
        stage: freezes a DataFrame of whose files nothing is known.
        store: where prints are kept for another run; None to keep none.
        rest: only these rows; None for all.
        known: fewest and most of the references' sizes of prints (``Prints.measured``).

    Raises:
        UserError: a column that the options name is missing or of a wrong type, or prints cannot be compared.
        JobError: ``on_error`` is ``fail`` and a picture is unreadable.
    """

    def count(frame: DataFrame, table: pa.Table | None = None) -> list[Any]:
        if table is not None:
            return small.counts_of(table, source.count_by)
        # What is left of a source is in no parts.
        aggregates = prints.aggregates()
        return source.count(frame, *aggregates) if rest is None else Source.count(source, frame, *aggregates)

    with picture_settings(source.frame.sparkSession, prints.batch_rows):
        made = _stored(source, prints, stage, store, rest, count)
        measured, prints = prints.measured(made.frame, made.counts, known)
        counts = made.counts if measured is made.frame else count(measured)
    stop_on_errors(measured, prints.config, counts)
    table = made.table if measured is made.frame else None
    return Hashed(measured, prints, counts, made.reused, tally(counts), table)


class _Made(NamedTuple):
    """Prints, what was counted of them, and how many files needed no hashing."""

    frame: DataFrame
    counts: list[Any]
    reused: int = 0
    table: pa.Table | None = None


def _stored(
    source: Source,
    prints: Prints,
    stage: Stage,
    store: PrintStore | None,
    rest: Rest | None,
    count: Callable[..., list[Any]],
) -> _Made:
    """Prints, read back from where they are stored."""
    spark = source.frame.sparkSession
    left = rest.of if rest else lambda whole: whole
    plain = prints.of(left(source))
    states = [] if store is None else source.states
    if store is None or not states:
        frame = stage("fingerprints", plain)
        return _Made(frame, count(frame))
    schema = plain.schema
    files = [stored_file(one, source, prints, rest.name if rest else None) for one in states]
    groups = store.groups()
    if source.divisible:
        found, missing = find_files(groups, files)
        frames = [group.read_as(pairs, spark, schema) for group, pairs in found]
        portions = _split(spark, missing)
    else:
        same = [group for group in groups if group.files == tuple(files)][:1]
        found, missing = [(group, {}) for group in same], [] if same else files
        frames = [group.read(spark, schema) for group in same]
        portions = [] if same else [files]
    by_file = dict(zip(files, states, strict=True))
    gathered = small.Gathered()

    def held(group: Group, *, all_of_it: bool) -> pa.Table | None:
        # What is left of a source, Spark counts.
        table = small.read_prints(group.folder) if rest is None and all_of_it else None
        gathered.add(table)
        return table

    counts: list[Any] = []
    beyond: list[tuple[Group, bool, DataFrame]] = []
    for (group, pairs), frame in zip(found, frames, strict=True):
        all_of_it = group.holds(pairs)
        table = held(group, all_of_it=all_of_it)
        if table is None:
            beyond.append((group, all_of_it, frame))
        else:
            group.check(len(table))
            counts.extend(count(frame, table))
    if beyond:
        here = count(reduce(DataFrame.unionByName, [frame for _, _, frame in beyond]))
        counts.extend(here)
        if all(all_of_it for _, all_of_it, _ in beyond):
            check_rows(store.folder, [group.rows for group, _, _ in beyond], sum(one["rows"] for one in here))

    def lasting(written: DataFrame, group: Group) -> Sequence[File]:
        here = count(written, held(group, all_of_it=True))
        group.check(sum(one["rows"] for one in here))
        counts.extend(here)
        return _lasting(source, group.files, here)

    sizes = [sum(file[3] for file in some) for some in portions]
    total = max(sum(sizes), 1)
    rows = source.known_rows if rest is None and len(missing) == len(files) else 0
    by_driver = rest is None and is_shared(store.folder)
    for number, some in enumerate(portions):
        of_them = [by_file[one] for one in some]
        part = source if len(some) == len(files) else source.only(of_them)
        table = prints.here(source, of_them, schema) if by_driver else None
        with portion(sum(sizes[:number]) / total, sizes[number] / total, rows), settings(spark, part.splits):
            made = plain if part is source else prints.of(left(part))
            groups.append(store.add(made, some, lasting, table))
        frames.append(groups[-1].read(spark, schema))
    store.sweep(groups, {group.folder for group, _ in found})
    return _Made(reduce(DataFrame.unionByName, frames), counts, len(files) - len(missing), gathered.whole)


def _lasting(source: Source, files: Sequence[File], counts: Sequence[Mapping[str, Any]]) -> Sequence[File]:
    """The files whose prints depend on their bytes alone: not on what could not be had when they were made, nor on what
    had all of them fail."""
    passing = [one for one in counts if one["momentary"]]
    if nearly_all_failed(counts) or (passing and not (source.divisible and "file" in passing[0])):
        return ()
    again = {(one["input"], one["file"]) for one in passing}
    return [file for file in files if (file[1], file[2]) not in again]


def _split(spark: SparkSession, files: Sequence[File]) -> list[list[File]]:
    """Consecutive files in groups of bounded size."""
    most = WAVES * partition_bytes(spark)
    if sum(file[3] for file in files) > most:
        most *= parallelism(spark)
    return list(grouped(files, lambda file: file[3], most))
