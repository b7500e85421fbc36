"""A source: rows to deduplicate, of any kind; and those rows placed: each with its id and its number in the input.

A row's *place* is the struct column ``PLACE``: which input, which file, which part of it, and which row: ids and the
input order do not depend on partitions. A row's id that is known while reading, and no column of the user's, is ``ID``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import ByteType, IntegerType, LongType, ShortType, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.listing import PassedOver
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.files.shares import Share
from imgdedup_spark.read.columns import check_unique, col
from imgdedup_spark.spark.joins import BROADCAST_KEYS
from imgdedup_spark.spark.workspace import Stage

# Beside the user's columns, ours have names that no column of a user's has.
PLACE = "__imgdedup_place"
ID = "__imgdedup_id"
#: What is wrong with a row that is none: a line that is no JSON object. Null for rows.
BAD = "__imgdedup_bad"
#: A row's number in input order, beside the user's columns; and beside ours.
ROW = "__imgdedup_order"
ORDER = "order"
INPUT = "input"
_KEY = "__imgdedup_key"
#: ``local(name, table)`` makes a DataFrame of a table in the driver.
Local = Callable[[str, pa.Table], DataFrame]


@dataclass(frozen=True)
class Root:
    """Where one input lies.

    Attributes:
        folder: where relative image paths and the files' names start: the input itself, or what holds it.
        read: what is read: the folder, or (one of) the files.
        base: what Spark put before a path that has no scheme of its own, ``hdfs://name``; empty if local.
    """

    folder: str
    read: str
    base: str = ""


@dataclass(frozen=True)
class FileState:
    """A file that prints can be stored for: of which input, percent-encoded URI, bytes, milliseconds since 1970."""

    input: int
    uri: str
    size: int
    time: int


@dataclass(frozen=True)
class Source:
    """Rows whose ids are one of their columns, or ``ID``. Kinds whose files are known are subclasses.

    Attributes:
        frame: the user's columns, and ``PLACE`` and ``ID`` where they are known.
        columns: the user's columns, in their order.
        format: what ``--input-format`` calls it; ``frame`` for a DataFrame.
        inputs: the inputs as the user wrote them; none for a DataFrame.
        roots: where each input lies.
        passed: what lies in the inputs and is not read.
        stores: what the rows may name pictures on beside the file systems of the roots (``PathRules.stores``).
        own_structs: whether structs in columns of pictures are made here and not the data's (``forms.entries_of``).
        partial: columns that some of the files do not have, in small letters.
        keys: of folders named ``key=value`` that add columns.
        known_rows: how many rows there are; 0 where that is found out while they are read.
    """

    frame: DataFrame
    columns: tuple[str, ...]
    format: str = "frame"
    inputs: tuple[str, ...] = ()
    roots: tuple[Root, ...] = (Root("", ""),)
    passed: PassedOver = field(default_factory=PassedOver)
    stores: tuple[str, ...] = ()
    own_structs: bool = False
    partial: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()
    known_rows: int = 0

    #: The schema of files that differ, if they do (see ``read.parquet``).
    united: ClassVar[Any] = None
    #: What the rows that stay are written as unless somebody says otherwise.
    native: ClassVar[str] = "parquet"
    #: Whether ids that are no column of the user's cannot repeat.
    unique_ids: ClassVar[bool] = False
    #: The parts of ``PLACE`` that rows are counted by.
    count_by: ClassVar[tuple[str, ...]] = ("input",)
    #: Whether ``only`` can read some of the files again.
    divisible: ClassVar[bool] = False

    @property
    def schema(self) -> StructType:
        """Of everything that can be read from a row, for the checks at the door."""
        return self.frame.drop(PLACE, ID, BAD).schema

    def pictures(self, name: str) -> Column:
        """A column of pictures, in a form that the workers know."""
        return col(name)

    def column_reader(self, column: str) -> ColumnReader | None:
        """What reads pictures in the workers themselves; None where Spark must bring them."""
        return None

    def columns_here(self, files: Sequence[FileState], names: Sequence[str], most_bytes: int) -> pa.Table | None:
        """``PLACE`` and some columns of some files, read by the driver as Spark would; None where it might not."""
        return None

    def spread(self, rows: DataFrame) -> DataFrame:
        """The rows, without pictures, over as many tasks as reading their pictures is worth."""
        return rows

    @property
    def splits(self) -> Mapping[str, str]:
        """Settings with which Spark cuts the files into tasks that are worth hashing's while."""
        return {}

    def file_states(self) -> list[FileState]:
        """What prints can be stored for, in input order; none where a table format alone knows its files."""
        return []

    @cached_property
    def states(self) -> list[FileState]:
        """``file_states``, looked up once: all of a run goes by the same."""
        return self.file_states()

    def only(self, files: Sequence[FileState]) -> Source:
        """The rows of some of the files."""
        raise NotImplementedError

    def shown_path(self) -> Column | None:
        """The row's own file, if it is one; else None."""
        return None

    def count(self, prints: DataFrame, *more: Column) -> list[Row]:
        """``rows`` of each ``input`` (null where rows do not know theirs), and more aggregates."""
        if INPUT in prints.columns:
            of = F.col(INPUT)
        else:
            of = F.col(PLACE)["input"] if PLACE in prints.columns else F.lit(None).cast("int")
        return prints.groupBy(of.alias(INPUT)).agg(F.count(F.lit(1)).alias("rows"), *more).collect()

    def check_ids(self, id_col: str | None) -> None:
        """Raises:
        UserError: the column's values repeat or are null; of a DataFrame, ``placed`` finds that out. Or there is no
            such column, and nothing else that names the rows.
        """
        if id_col is None and not {PLACE, ID} & set(self.frame.columns):
            raise UserError(f"--input {' '.join(self.inputs)}: nothing tells where a row of it stands; say --id-col")

    def placed(self, prints: DataFrame, counts: Sequence[Any], id_col: str | None, stage: Stage) -> Placed:
        """The prints with ``id``, ``order`` and, where it is known, ``input``; without their place.

        Args:
            prints: have ``PLACE`` and/or ``id``.
            counts: of the prints (``count``).
            id_col: the user's column that is the id; None if there is none.
            stage: freezes a DataFrame; what is numbered by sorting must not be numbered twice.

        Raises:
            UserError: ids repeat or are null, so that they name no row.
        """
        has_place = PLACE in prints.columns
        if has_place:
            prints = prints.withColumn(INPUT, F.col(PLACE)["input"])
        if id_col is not None or not self.unique_ids:
            check_unique(prints, id_col)
        if not has_place and isinstance(prints.schema["id"].dataType, LongType | IntegerType | ShortType | ByteType):
            return Placed(self, prints.withColumn(ORDER, F.col("id").cast("long")), id_col)
        terms = [F.col(PLACE)[part] for part in ("input", "file", "row")] if has_place else []
        ordered = prints.orderBy(*terms, "id").drop(PLACE).withColumn(ORDER, F.monotonically_increasing_id())
        return Placed(self, stage("ordered", ordered), id_col)

    def placed_in_driver(
        self, prints: DataFrame, table: pa.Table, counts: Sequence[Any], id_col: str | None, local: Local
    ) -> PlacedTable | None:
        """As ``placed``, with the prints as a table in the driver, and without Spark; None where it takes Spark.

        Args:
            prints, table: the same prints.
            local: makes a DataFrame of a table.
        """
        return None


@dataclass(frozen=True)
class Placed:
    """A source whose rows have numbers: ``prints`` know them, and ``rows`` of another reading get them again.

    Attributes:
        prints: one print a row, with ``id``, ``order`` and maybe ``input``.
        id_col: the user's column that is the id; None if there is none.
    """

    source: Source
    prints: DataFrame
    id_col: str | None

    def rows(self) -> DataFrame:
        """The source's rows again, each with its number in ``ROW``, without ``PLACE``."""
        numbers = self.prints.select(F.col("id").alias(_KEY), F.col(ORDER).alias(ROW))
        return self.source.frame.drop(PLACE).join(numbers, self._key == F.col(_KEY)).drop(_KEY)

    def without(self, gone: DataFrame, count: int) -> DataFrame:
        """The source's rows but those whose ``order`` is in ``gone``, about ``count`` of them."""
        ids = gone.join(self.prints.select(ORDER, F.col("id").alias(_KEY)), ORDER).select(_KEY)
        return self.source.frame.join(few(ids, count), self._key == F.col(_KEY), "left_anti")

    def kept(self, gone: DataFrame, count: int, emitted: DataFrame | None = None) -> DataFrame:
        """Exactly the user's columns, of the rows that stay, and what is emitted besides.

        Args:
            gone: see ``without``.
            emitted: ``id``, ``order`` and columns to add, one row for every row.
        """
        rows = self.without(gone, count)
        names = [] if emitted is None else [name for name in emitted.columns if name not in ("id", ORDER)]
        if emitted is not None:
            rows = self._with(rows, emitted, names)
        return rows.select(*[col(name) for name in self.source.columns], *names)

    def _with(self, rows: DataFrame, emitted: DataFrame, names: Sequence[str]) -> DataFrame:
        return rows.join(emitted.select(F.col("id").alias(_KEY), *names), self._key == F.col(_KEY))

    def kept_in_order(self, gone: DataFrame, count: int, emitted: DataFrame | None = None) -> DataFrame:
        """``kept``, written by Spark in input order where that takes no shuffle of rows."""
        return self.kept(gone, count, emitted)

    def known(self, prints: pa.Table) -> pa.Table | None:
        """The user's columns of the rows of these prints, without Spark; None where the driver does not know them."""
        return None

    def shares(self, kind: str) -> list[tuple[int, Share]] | None:
        """All parts of files, each with its file's number, if rows can be copied from them as they are into files of
        this kind; None if not."""
        return None

    def left(self, out: DataFrame, count: int, part: Source | None = None) -> Source:
        """A source of the rows (of ``part``, or all) whose ``order`` is not in ``out``; ``renumbered`` knows them."""
        source = self.source
        rows = self.without(out, count)
        return Source(rows, source.columns, roots=source.roots, stores=source.stores, own_structs=source.own_structs)

    def renumbered(self, prints: DataFrame) -> DataFrame:
        """Prints of what was ``left``, with the ``order`` that the rows have here, and without ``id``."""
        return prints.drop(PLACE).join(self.prints.select("id", ORDER), "id").drop("id")

    @property
    def files(self) -> list[tuple[int, str, int]]:
        """(input, URI, number in input order) of the files that rows' numbers depend on."""
        return []

    @property
    def left_id_col(self) -> str | None:
        """The user's column that is the id of what was ``left``."""
        return self.id_col

    @property
    def _key(self) -> Column:
        return col(self.id_col) if self.id_col else F.col(ID)


@dataclass(frozen=True)
class PlacedTable:
    """Attributes:
    table: what ``placed.prints`` holds, in the driver.
    """

    placed: Placed
    table: pa.Table


def few(numbers: DataFrame, count: int) -> DataFrame:
    """Broadcast if they are few. What they are joined to may hold pictures, which no shuffle should carry."""
    return F.broadcast(numbers) if count <= BROADCAST_KEYS * 20 else numbers


def or_nulls(source: Source, names: Sequence[str]) -> Source:
    """The source; with these columns, all null, if it has neither columns nor rows: a quiet day is no mistake."""
    if source.columns or source.frame.limit(1).count():
        return source
    return replace(source, frame=source.frame.select("*", *[F.lit(None).alias(one) for one in names]))
