"""Parquet files: rows are numbered by the files themselves, and workers copy rows without Spark.

Where all files have one schema that Spark reads, Spark scans their narrow columns and the workers read the pictures.
Where shards differ, have types that Spark does not know, or names that it hides, or lie where it has no file system,
the workers read everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructField, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.listing import Listed
from imgdedup_spark.files.parquet_batches import BoundedFile, first_rows
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.files.unite import Footer, check_names, plain_batches, plain_type, read_footers, unite
from imgdedup_spark.files.uris import folder_values
from imgdedup_spark.read.by_workers import FILE_PLACE, file_place, workers_open
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.here import read_here
from imgdedup_spark.read.known_schema import known_schema
from imgdedup_spark.read.listing import Listing, plain_path
from imgdedup_spark.read.load import load_files, of_listing, unquoted
from imgdedup_spark.read.row_groups import TASKS_A_PART, Groups, is_large, part_rows, pieces, target_bytes
from imgdedup_spark.read.source import PLACE, FileState
from imgdedup_spark.spark.hadoop import spark_opens
from imgdedup_spark.spark.settings import PICTURE_BATCH_ROWS, case_matters, partition_bytes, setting
from imgdedup_spark.spark.units import rows_of_units

ENDINGS = frozenset({"parquet", "pq"})
# Names that Spark hides, or that Hadoop takes apart.
_ODD = re.compile(r"(?:^|/)_[^/]*$|[][{}*?\\:]")


@dataclass(frozen=True)
class ParquetFiles(FileSource):
    """Rows of Parquet files.

    Attributes:
        united: the schema of all files, if they differ.
        groups: (rows, bytes) of the row groups of each file, by plain URI; none where the workers read everything.
    """

    united: pa.Schema | None = None  # type: ignore[misc]
    groups: Mapping[str, Groups] = field(default_factory=dict)

    copied: ClassVar[bool] = True

    def column_reader(self, column: str) -> ColumnReader | None:
        return ColumnReader(column) if workers_open(self.roots[0].read) else None

    @cached_property
    def target(self) -> int:
        """Bytes of a task."""
        return target_bytes(self._spark, self.groups.values())

    def _is_large(self, groups: Groups) -> bool:
        return is_large(groups, self.target)

    @property
    def splits(self) -> Mapping[str, str]:
        # Spark makes as few tasks as it may, and two cores then wait for the last of three. Large row groups `spread`
        # divides.
        if self.target >= partition_bytes(self._spark) or any(map(self._is_large, self.groups.values())):
            return {}
        return {"spark.sql.files.maxPartitionBytes": str(self.target)}

    def columns_here(self, files: Sequence[FileState], names: Sequence[str], most_bytes: int) -> pa.Table | None:
        uris = [plain_path(one.uri) for one in files]
        if not (set(self.keys).isdisjoint(names) and all(uri in self.groups for uri in uris)):
            return None
        return read_here(files, [self.schema[name] for name in names], most_bytes)

    def only(self, files: Sequence[FileState]) -> FileSource:
        part = super().only(files)
        assert isinstance(part, ParquetFiles)
        wanted = (plain_path(one.uri) for one in files)
        groups = {uri: self.groups[uri] for uri in wanted if uri in self.groups}
        return replace(part, groups=groups, known_rows=sum(rows for some in groups.values() for rows, _ in some))

    def spread(self, rows: DataFrame) -> DataFrame:
        # Spark gives a row group to one task, and pyarrow writes a million rows into one.
        large = [(uri, part_rows(one, self.target)) for uri, one in self.groups.items() if self._is_large(one)]
        if not large or not self.known_rows:  # or some rows of them alone
            return rows
        place, most = F.col(PLACE), rows.sparkSession.createDataFrame(large, "__p_uri string, __p_rows bigint")
        # What `plain_path` makes of a URI. A file that is not found is one part.
        uri = F.regexp_replace(unquoted(place["file"]), "^file:/+", "/")
        parted = rows.join(F.broadcast(most), uri == F.col("__p_uri"), "left")
        part = F.coalesce(F.floor(place["row"] / F.col("__p_rows")), F.lit(0))
        tasks = TASKS_A_PART * -(-sum(size for some in self.groups.values() for _, size in some) // self.target)
        by = place["input"], place["file"]
        return parted.repartition(tasks, *by, part).sortWithinPartitions(*by, place["row"]).select(*rows.columns)


class _Unit(NamedTuple):
    """Row groups of a file, or a piece of one.

    Attributes:
        input: its number.
        uri: plain.
        start, length: the first row of the groups, and their bytes.
        pieces: of each group its number, the first of its rows to read, and how many.
    """

    input: int
    uri: str
    start: int
    length: int
    pieces: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class ReadParquet(ParquetFiles):
    """Rows of Parquet files that the workers read.

    Attributes:
        units: what one task reads.
    """

    units: tuple[_Unit, ...] = ()

    def column_reader(self, column: str) -> None:
        return None

    def file_states(self) -> list[FileState]:
        return list(self.listed)

    def only(self, files: Sequence[FileState]) -> ReadParquet:
        return self._of({(one.input, storage.from_spark(one.uri)) for one in files})

    def scan(self, index: int, uris: Any) -> DataFrame:
        wanted = {(index, storage.from_spark(uri)) for uri in uris}
        return self._of(wanted).frame

    def _of(self, files: set[tuple[int, str]]) -> ReadParquet:
        assert self.united is not None
        units = tuple(unit for unit in self.units if unit[:2] in files)
        frame = _frame(self.frame.sparkSession, units, self.united, self.keys)
        return replace(self, units=units, frame=frame, known_rows=0)


def is_parquet(file: Listed) -> bool:
    """Whether a file is one by its ending or, where it has none, by its first bytes."""
    name = file.name.rpartition("/")[2]
    if "." not in name:
        return storage.read_head(file.uri, 4) == b"PAR1"
    return name.rpartition(".")[2].lower() in ENDINGS


def open_parquet(spark: SparkSession, listing: Listing) -> ParquetFiles:
    """One data set of several inputs.

    Raises:
        UserError: a file cannot be read, or columns cannot be united.
    """
    listing = listing.only(lambda one: one.size > 0, "empty_file")
    if not any(listing.files):
        raise UserError(f"--input {' '.join(listing.inputs)}: no Parquet file holds a byte: {listing.passed}")
    every = [one.uri for files in listing.files for one in files]
    footers = read_footers(every) if all(workers_open(root.folder) for root in listing.roots) else {}
    schemas = {uri: footer.schema for uri, footer in footers.items()}
    if not case_matters(spark):
        check_names(schemas)
    rows = sum(count for footer in footers.values() for count, _ in footer.groups)
    if schemas and not _is_for_spark(listing, list(schemas.values())):
        return replace(_read_by_workers(spark, listing, footers), known_rows=rows)
    # Impala has written text as bytes, as which it would be told.
    is_known = footers and setting(spark, "spark.sql.parquet.binaryAsString", "false") != "true"
    schema = known_schema(footers.values()) if is_known else None
    frames = load_files(spark, "parquet", listing, schema)
    keys = listing.keys_beside(name for frame in frames.values() for name in frame.columns)
    groups = {storage.absolute(uri): footer.groups for uri, footer in footers.items()}
    known = {**of_listing(listing, keys), "known_rows": rows, "groups": groups}
    return ParquetFiles.of(frames, **known, format="parquet", absolute=True, scanner="parquet")


def _is_for_spark(listing: Listing, schemas: Sequence[pa.Schema]) -> bool:
    if not all(spark_opens(root.folder) for root in listing.roots):
        return False
    first = schemas[0]
    hidden = any(_ODD.search(storage.split_uri(one.uri)[2]) for files in listing.files for one in files)
    # Spark knows its own columns of that name by no other.
    hidden = hidden or "_metadata" in (name.lower() for name in first.names)
    same = all(schema.equals(first) for schema in schemas)
    return not hidden and same and all(_is_plain(field.type) for field in first)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether Spark reads the type from Parquet, and workers its pictures."""
    found = plain_type(kind)
    if found is None:
        return False
    wide = pa.types.is_timestamp(kind) and kind.unit == "ns"
    return not wide and (kind.equals(found) or str(kind).replace("large_", "") == str(found).replace("large_", ""))


def _read_by_workers(spark: SparkSession, listing: Listing, footers: dict[str, Footer]) -> ReadParquet:
    keys = listing.keys_beside(name for footer in footers.values() for name in footer.schema.names)
    united = unite({uri: footer.schema for uri, footer in footers.items()})
    united = pa.schema([*united, *[pa.field(key, pa.string()) for key in keys]], united.metadata)
    target = target_bytes(spark, [footer.groups for footer in footers.values()])
    units = []
    for index, files in enumerate(listing.files):
        for file in files:
            groups = enumerate(footers[file.uri].groups if file.uri in footers else ())
            row = 0
            for part in grouped(groups, lambda one: one[1][1], target):
                size = sum(size for _, (_, size) in part)
                units += [_Unit(index, file.uri, row, size, piece) for piece in pieces(part, target)]
                row += sum(count for _, (count, _) in part)
    columns = tuple(field.name for field in united if plain_type(field.type) is not None)
    return ReadParquet(
        _frame(spark, units, united, keys),
        columns,
        "parquet",
        listing.inputs,
        listing.roots,
        absolute=True,
        scanner="parquet",
        partial=_partial([footer.schema for footer in footers.values()]),
        united=united,
        keys=keys,
        units=tuple(units),
        listed=tuple(listing.states()),
    )


def _partial(schemas: Sequence[pa.Schema]) -> frozenset[str]:
    names = [{name.lower() for name in schema.names} for schema in schemas]
    return frozenset(set.union(*names) - set.intersection(*names))


def _frame(spark: SparkSession, units: Sequence[Any], united: pa.Schema, keys: Sequence[str]) -> DataFrame:
    kinds = [(field.name, plain_type(field.type)) for field in united]
    plain = pa.schema([(name, kind) for name, kind in kinds if kind is not None])
    schema = StructType([*from_arrow_schema(plain).fields, StructField(PLACE, FILE_PLACE)])
    return rows_of_units(spark, units, _reading(plain, keys), schema)


def _reading(schema: pa.Schema, keys: Sequence[str]) -> Callable[[_Unit], Iterator[pa.RecordBatch]]:
    def read(unit: _Unit) -> Iterator[pa.RecordBatch]:
        row = unit.start + unit.pieces[0][1]
        opened, path = storage.open_fs(unit.uri)
        with opened.open_input_file(path) as stream:
            file = BoundedFile(stream)
            batches = (
                first_rows(count, file.bounded_batches(number, PICTURE_BATCH_ROWS, skip=first))
                for number, first, count in unit.pieces
            )
            for batch in plain_batches(chain.from_iterable(batches), schema, folder_values(unit.uri, keys)):
                count = len(batch)
                place = file_place(unit.input, unit.uri, unit.start, unit.length, range(row, row + count))
                row += count
                yield pa.RecordBatch.from_arrays([*batch.columns, place], [*batch.schema.names, PLACE])

    return read
