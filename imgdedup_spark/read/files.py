"""Sources whose rows lie in files: which part of a file a row is in, and its number there, make its id and its place in
the input order. The list of parts is found after hashing, on the small table: so no extra pass over the data.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import JobError, UserError, first_line
from imgdedup_spark.files.shares import Share
from imgdedup_spark.files.storage import from_spark
from imgdedup_spark.files.uris import escaped
from imgdedup_spark.read.columns import check_unique, col
from imgdedup_spark.read.listing import plain_path, spark_states
from imgdedup_spark.read.load import folder_value
from imgdedup_spark.read.numbering import number_rows
from imgdedup_spark.read.order import ROW_BITS, FilePart, find_parts, runs_of_files
from imgdedup_spark.read.source import (
    BAD,
    ID,
    INPUT,
    ORDER,
    PLACE,
    ROW,
    FileState,
    Local,
    Placed,
    PlacedTable,
    Source,
    few,
)
from imgdedup_spark.spark.workspace import Stage

log = logging.getLogger("imgdedup")
S = TypeVar("S", bound="FileSource")
#: Scans in one plan. Each costs the driver some milliseconds, and a plan of thousands costs minutes.
MAX_SCANS = 200
# Absolute paths that Spark writes as they are, behind `file:`.
_SPELLED_ALIKE = re.compile(r"(?:/[A-Za-z0-9_=-][A-Za-z0-9_.=-]*)+")
# Names that no column of a user's has.
_PART_SCHEMA = "__p_input int, __p_file string, __p_start bigint, __p_ordinal bigint, __p_base bigint, __p_name string"


@dataclass(frozen=True)
class FileSource(Source):
    """Rows of files that Spark reads by itself. ``PLACE`` tells the ``input``, the ``file`` (percent-encoded URI),
    ``start`` and ``length`` of the part of it that one task reads, and the ``row``.

    Attributes:
        absolute: whether ``row`` is the row's number in its file; else it ascends within the part.
        scanner: Spark's name of what reads single files again; None where a table format alone knows how.
        paths: the files of each input, as Spark takes them; none where Spark alone lists them.
        listed: states of the files, with URIs as we spell them; none where Spark alone lists them.
        options: of Spark's reader.
    """

    absolute: bool = False
    scanner: str | None = None
    paths: tuple[tuple[str, ...], ...] = ()
    listed: tuple[FileState, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    count_by: ClassVar[tuple[str, ...]] = ("input", "file", "start", "length")
    divisible: ClassVar[bool] = True
    #: Whether rows have a key in their file (``ID``), which ids have in the place of the row's number.
    keyed: ClassVar[bool] = False
    #: Whether workers can copy rows as they are into files of the same kind.
    copied: ClassVar[bool] = False

    @classmethod
    def of(cls: type[S], frames: Mapping[int, DataFrame], **attributes: Any) -> S:
        """One data set of several inputs.

        Args:
            frames: the rows of each input, by its number.
            attributes: all but ``frame`` and ``columns``.

        Raises:
            UserError: the inputs' columns cannot be united.
        """
        one = cls(next(iter(frames.values())), (), **attributes)
        # Columns first: `*` would not include the hidden `_metadata`, which must be resolved on the scan itself.
        placed = [frame.select("*", *one._more(index)) for index, frame in frames.items()]
        try:
            frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), placed)
            columns = tuple(name for name in frame.columns if name not in (PLACE, BAD))
        except AnalysisException as error:
            raise UserError(f"--input: the inputs' columns do not go together: {first_line(error)}") from None
        return replace(one, frame=frame, columns=columns)

    def _more(self, index: int) -> list[Column]:
        # Not by Spark's `basePath`, which lets a folder's value win over a file's, and wants the same keys everywhere.
        return [*map(folder_value, self.keys), self._place(index)]

    def _place(self, index: int) -> Column:
        # Rows of one part are read by one task, in order, so `monotonically_increasing_id` ascends within it.
        row = F.col("_metadata.row_index") if self.absolute else F.monotonically_increasing_id()
        return F.struct(
            F.lit(index).alias("input"),
            F.col("_metadata.file_path").alias("file"),
            F.col("_metadata.file_block_start").alias("start"),
            F.col("_metadata.file_block_length").alias("length"),
            row.alias("row"),
        ).alias(PLACE)

    def scan(self, index: int, uris: Iterable[str]) -> DataFrame:
        """Some files of one input, with ``PLACE``, as ``frame`` has them."""
        assert self.scanner is not None
        paths = [escaped(plain_path(uri)) for uri in uris]
        reader = self.frame.sparkSession.read.format(self.scanner).options(**self.options)
        reader = reader.schema(self.frame.drop(PLACE, ID, *self.keys).schema)
        return reader.load(paths).select("*", *self._more(index))

    def file_states(self) -> list[FileState]:
        if self.scanner is None:
            return []
        # A job less. How Spark spells a store's files, a server's, and names with other characters, it alone knows.
        if self.listed and not is_remote() and all(_SPELLED_ALIKE.fullmatch(one.uri) for one in self.listed):
            return [replace(one, uri=f"file:{one.uri}") for one in self.listed]
        listed = self.paths or [[path] for path in self.inputs]
        return [one for index, paths in enumerate(listed) for one in spark_states(self._spark, index, paths)]

    def only(self, files: Sequence[FileState]) -> FileSource:
        numbers = sorted({one.input for one in files})
        scans = [self.scan(number, [one.uri for one in files if one.input == number]) for number in numbers]
        return replace(self, frame=reduce(DataFrame.unionByName, scans), known_rows=0)

    def check_ids(self, id_col: str | None) -> None:
        if id_col is not None:
            rows = self.frame.where(F.col(BAD).isNull()) if BAD in self.frame.columns else self.frame
            check_unique(rows.select(col(id_col).alias("id")), id_col)

    def count(self, prints: DataFrame, *more: Column) -> list[Row]:
        """``rows`` of each part (``input``, ``file``, ``start``, ``length``), ``first``, their smallest mark, and more
        aggregates."""
        place = F.col(PLACE)
        if PLACE not in prints.columns:
            return super().count(prints, *more)
        by = [place[part].alias(part) for part in self.count_by]
        first = F.min(place["row"]).alias("first")
        return prints.groupBy(*by).agg(F.count(F.lit(1)).alias("rows"), first, *more).collect()

    def placed(self, prints: DataFrame, counts: Sequence[Any], id_col: str | None, stage: Stage) -> PlacedInFiles:
        parts = find_parts(counts, self.inputs, [root.folder for root in self.roots], absolute=self.absolute)
        prints = prints.withColumn(INPUT, F.col(PLACE)["input"])
        return PlacedInFiles(self, self.numbered(prints, parts, ORDER, None if id_col else "id"), id_col, parts)

    def placed_in_driver(
        self, prints: DataFrame, table: pa.Table, counts: Sequence[Any], id_col: str | None, local: Local
    ) -> PlacedTable:
        """As ``Source.placed_in_driver``."""
        placed = self.placed(prints, counts, id_col, lambda name, frame: frame)
        return PlacedTable(
            placed, number_rows(table, PLACE, placed.parts, absolute=self.absolute, with_ids=id_col is None)
        )

    def numbered(self, frame: DataFrame, parts: Sequence[FilePart], order: str, row_id: str | None = None) -> DataFrame:
        """The frame without ``PLACE``, with a row's number in input order and, if asked for, its id."""
        on = ["input", "file"] if self.absolute else ["input", "file", "start"]
        rows = dict.fromkeys(
            (one.input, one.uri, 0 if self.absolute else one.start, one.ordinal, one.base, one.name) for one in parts
        )
        table = frame.sparkSession.createDataFrame(list(rows), schema=_PART_SCHEMA)
        place = F.col(PLACE)
        # A broadcast because the rows may hold pictures, which no shuffle should carry; a line a file is small.
        joined = frame.join(F.broadcast(table), [F.col(f"__p_{part}") == place[part] for part in on])
        row = place["row"] - F.col("__p_base")
        made = [(F.shiftleft(F.col("__p_ordinal"), ROW_BITS) + row).alias(order)]
        if row_id is not None:
            made.append(F.concat("__p_name", F.lit("#"), F.col(row_id) if self.keyed else row).alias(row_id))
        return joined.select(*[col(name) for name in frame.columns if name not in (PLACE, row_id)], *made)

    @property
    def _spark(self) -> SparkSession:
        return self.frame.sparkSession


@dataclass(frozen=True)
class PlacedInFiles(Placed):
    """Attributes:
    parts: all parts of files that hold rows, in input order.
    """

    source: FileSource
    parts: Sequence[FilePart]

    def rows(self, part: DataFrame | None = None) -> DataFrame:
        """As ``Placed.rows``; of some of the source's rows, if given."""
        frame = self.source.frame if part is None else part
        return self.source.numbered(frame, self._parts_of(frame), ROW)

    def _parts_of(self, frame: DataFrame) -> Sequence[FilePart]:
        """The parts in which another reading of (some of) the same files finds its rows. Spark cuts files by the total
        size of what it reads, so they may be others; the rows' numbers in the files are the same.

        Raises:
            JobError: there are files that were not there before.
        """
        if self.source.absolute:
            return self.parts
        folders = [root.folder for root in self.source.roots]
        again = find_parts(self.source.count(frame.select(PLACE)), self.source.inputs, folders, absolute=False)
        ordinals = {(one.input, one.uri): one.ordinal for one in self.parts}
        try:
            return [replace(one, ordinal=ordinals[one.input, one.uri]) for one in again]
        except KeyError as error:
            raise JobError(f"{error.args[0][1]} was not there before: did the input change during the run?") from None

    def without(self, gone: DataFrame, count: int, part: DataFrame | None = None) -> DataFrame:
        return self.rows(part).join(few(gone.withColumnRenamed(ORDER, ROW), count), ROW, "left_anti")

    def _with(self, rows: DataFrame, emitted: DataFrame, names: Sequence[str]) -> DataFrame:
        return rows.join(F.broadcast(emitted.select(F.col(ORDER).alias(ROW), *names)), ROW)

    def kept_in_order(self, gone: DataFrame, count: int, emitted: DataFrame | None = None) -> DataFrame:
        if self.source.scanner is None or len(self.parts) < 2:
            return self.kept(gone, count, emitted)
        runs = runs_of_files(self.parts)
        if len(runs) > MAX_SCANS:
            log.warning("kept/ is not in input order: the files' sizes go up and down too often for Spark to keep it")
            return self.kept(gone, count, emitted)
        scans = [replace(self.source, frame=self.source.scan(run[0].input, [one.uri for one in run])) for run in runs]
        return reduce(DataFrame.unionByName, [replace(self, source=scan).kept(gone, count, emitted) for scan in scans])

    def shares(self, kind: str) -> list[tuple[int, Share]] | None:
        if not self.source.copied or kind != self.source.format:
            return None
        if self.source.keys and self.source.united is None:  # rows are copied as the files have them
            return None
        return [
            (one.ordinal, Share(from_spark(one.uri), one.first_row, one.rows, one.start, one.length))
            for one in self.parts
        ]

    def left(self, out: DataFrame, count: int, part: Source | None = None) -> Source:
        """As ``Placed.left``. The rows' ``ID`` is their ``order`` here, which some of them alone would not tell."""
        source = self.source if part is None else part
        again = "__imgdedup_place_again"
        frame = self.without(out, count, source.frame.drop(ID).withColumn(again, F.col(PLACE)))
        frame = frame.withColumnRenamed(again, PLACE).withColumnRenamed(ROW, "__imgdedup_id")
        return Source(frame, source.columns, roots=source.roots, own_structs=source.own_structs)

    def renumbered(self, prints: DataFrame) -> DataFrame:
        return prints.drop(PLACE).withColumnRenamed("id", ORDER)

    @property
    def files(self) -> list[tuple[int, str, int]]:
        return [(one.input, one.uri, one.ordinal) for one in self.parts]

    @property
    def left_id_col(self) -> None:
        return None
