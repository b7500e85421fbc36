"""Files of rows that the workers take apart: read once to learn how many rows there are and what columns they have, and
again for the rows themselves.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StringType, StructField, StructType

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.json_rows import ANY, Columns, Fields
from imgdedup_spark.files.listing import Listed, PassedOver
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.files.uris import folder_values
from imgdedup_spark.read.by_workers import FILE_PLACE, file_place, units_of
from imgdedup_spark.read.columns import check_unique, col
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.load import of_listing
from imgdedup_spark.read.source import BAD, PLACE, FileState
from imgdedup_spark.spark.settings import case_matters, partition_bytes, task_bytes
from imgdedup_spark.spark.units import rows_of_units

#: Bytes that are worth a task; opening a file costs about as much as reading so many of it.
LEAST_BYTES, FILE_COST = 1 << 20, 64 << 10
_LOOKED = pa.schema(
    [
        ("rows", pa.int64()),
        ("kinds", pa.binary()),
        ("together", pa.list_(pa.list_(pa.string()))),
        ("blank", pa.int64()),
        ("bad", pa.string()),
        ("problem", pa.string()),
    ]
)


class Part(NamedTuple):
    """A stretch of a file: its input, plain URI, bytes as ``Share`` has them, and the number of its first row."""

    input: int
    uri: str
    start: int
    length: int
    row: int = 0


#: A row's fields, and what is wrong with it if it is none.
Row = tuple[Mapping[str, Any], str | None]
#: The rows of a part, in batches.
Rows = Callable[[Part], Iterator[Sequence[Row]]]
Units = tuple[tuple[Part, ...], ...]


def no_rows(part: Part) -> Iterator[Sequence[Row]]:
    """Of no file."""
    yield from ()


@dataclass(frozen=True)
class RowFiles(FileSource):
    """Rows that the workers take apart.

    Attributes:
        rows: reads a part, in the workers.
        made: the columns that are made of the rows' fields.
        units: the parts that one task reads.
    """

    rows: Rows = no_rows
    made: Columns = Columns({}, {})  # noqa: RUF009 - nothing changes it
    units: Units = ()

    def is_any(self, name: str) -> bool:
        """Whether a column's values have no type in common, and those that are not strings are JSON."""
        return name in self.made.kinds and self.made.kinds[name].equals(ANY)

    def file_states(self) -> list[FileState]:
        return list(self.listed)

    def only(self, files: Sequence[FileState]) -> RowFiles:
        return self._of(units_of(self.units, files))

    def holding(self, wanted: Mapping[tuple[int, str], Iterable[int]]) -> RowFiles:
        """The parts of files alone in which some rows lie.

        Args:
            wanted: input and URI, as of a ``FileState`` → numbers of rows in the file.
        """
        begins: dict[tuple[int, str], list[int]] = defaultdict(list)
        for part in (part for unit in self.units for part in unit):
            begins[part[:2]].append(part.row)
        held = set()
        for (index, uri), rows in wanted.items():
            file = index, storage.from_spark(uri)
            held |= {(*file, begins[file][bisect(begins[file], row) - 1]) for row in rows}
        some = (tuple(one for one in unit if (one.input, one.uri, one.row) in held) for unit in self.units)
        return self._of(tuple(filter(None, some)))

    def _of(self, units: Units) -> RowFiles:
        frame = _frame(self._spark, units, self.rows, self.made, self.keys)
        return replace(self, units=units, frame=frame, known_rows=0)

    def scan(self, index: int, uris: Any) -> DataFrame:
        return self.only([FileState(index, uri, 0, 0) for uri in uris]).frame

    def check_ids(self, id_col: str | None) -> None:
        if id_col is not None:
            ids = _frame(self._spark, self.units, self.rows, self.made.only([id_col]), self.keys)
            check_unique(ids.where(F.col(BAD).isNull()).select(col(id_col).alias("id")), id_col)


def open_rows(
    spark: SparkSession,
    listing: Listing,
    split: Callable[[Listed], bool],
    rows: Rows,
    *,
    made: Columns | None = None,
    weight: int = 1,
    blanks: Callable[[Part], int] = lambda part: 0,
) -> dict[str, Any]:
    """The attributes of a ``RowFiles``.

    Args:
        split: whether parts of a file can be read by themselves.
        rows: reads a part, in the workers.
        made: the columns, if they are known; folders then add none.
        weight: bytes that a task has to do with for each byte of the files.
        blanks: how many lines of a part are passed over.

    Raises:
        UserError: a file cannot be read, or names do not go together.
    """
    total = weight * sum(one.size for files in listing.files for one in files)
    target = task_bytes(spark, total, LEAST_BYTES, partition_bytes(spark))
    step = max(1, target // weight)
    parts = [
        part
        for index, files in enumerate(listing.files)
        for one in files
        for part in _parts(index, one, step if one.size > step and split(one) else max(1, one.size))
    ]
    units = tuple(tuple(some) for some in grouped(parts, lambda part: part.length * weight + FILE_COST, target))
    counts, fields, partial = _look(spark, units, rows, blanks, listing.passed)
    keys: tuple[str, ...] = ()
    if made is None:
        made = fields.columns(by_case=case_matters(spark))
        keys = listing.keys_beside(made.kinds)
    numbered = tuple(_numbered(units, counts))
    return {
        **of_listing(listing, keys),
        "frame": _frame(spark, numbered, rows, made, keys),
        "columns": (*made.kinds, *keys),
        "absolute": True,
        "made": made,
        "rows": rows,
        "units": numbered,
        "partial": partial,
        "known_rows": sum(counts.values()),
    }


def _parts(index: int, file: Listed, step: int) -> Iterator[Part]:
    for start in range(0, file.size, step):
        yield Part(index, file.uri, start, min(step, file.size - start))


def _numbered(units: Units, counts: Mapping[Part, int]) -> Iterator[tuple[Part, ...]]:
    """The units' parts that hold rows, with the number of the first."""
    before: Counter[tuple[int, str]] = Counter()
    for unit in units:
        some = []
        for part in unit:
            if counts[part]:
                some.append(part._replace(row=before[part[:2]]))
                before[part[:2]] += counts[part]
        if some:
            yield tuple(some)


def _look(
    spark: SparkSession, units: Units, rows: Rows, blanks: Callable[[Part], int], passed: PassedOver
) -> tuple[dict[Part, int], Fields, frozenset[str]]:
    """How many rows each part has, what fields there are, and which of them some parts do not have, in small letters.

    Raises:
        UserError: a file cannot be read, or none of its rows is one.
    """

    def look(unit: tuple[Part, ...]) -> Iterator[pa.RecordBatch]:
        for part in unit:
            count, fields, blank, wrong, problem = 0, Fields(), 0, None, None
            try:
                for batch in rows(part):
                    bad = (f"row {count + number}: {one}" for number, (_, one) in enumerate(batch) if one)
                    wrong = wrong or next(bad, None)
                    count += len(batch)
                    fields.add([row for row, _ in batch])
                blank = blanks(part)
            except UserError as error:
                problem = str(error)
            except (OSError, EOFError) as error:
                problem = f"{part.uri} cannot be read: {first_line(error)}"
            kinds = pa.schema(list(fields.kinds.items())).serialize().to_pybytes()
            answer = [[count], [kinds], [sorted(fields.together)], [blank], [wrong], [problem]]
            yield pa.RecordBatch.from_arrays(list(map(pa.array, answer, _LOOKED.types)), schema=_LOOKED)

    counts, fields, bad = {}, Fields(), ""
    names: list[set[str]] = []
    answers = rows_of_units(spark, units, look, from_arrow_schema(_LOOKED)).collect()
    for part, one in zip((part for unit in units for part in unit), answers, strict=True):
        if one["problem"]:
            raise UserError(f"--input {one['problem']}")
        counts[part] = one["rows"]
        if one["blank"]:
            passed.add("blank_line", part.uri, one["blank"])
        bad = bad or (f"{part.uri} {one['bad']}" if one["bad"] else "")
        schema = pa.ipc.read_schema(pa.py_buffer(one["kinds"]))
        if counts[part]:
            names.append({name.lower() for name in schema.names})
        fields.join(Fields({item.name: item.type for item in schema}, {(a, b) for a, b in one["together"]}))
    if bad and not fields.kinds:
        raise UserError(f"--input: holds no row; {bad}")
    everywhere: set[str] = set.intersection(*names) if names else set()
    return counts, fields, frozenset(set().union(*names) - everywhere)


def _frame(spark: SparkSession, units: Units, rows: Rows, made: Columns, keys: Sequence[str]) -> DataFrame:
    """All rows, with the columns made and those of folders."""

    def read(unit: tuple[Part, ...]) -> Iterator[pa.RecordBatch]:
        for part in unit:
            row, values = part.row, folder_values(part.uri, keys)
            for batch in rows(part):
                yield _batch(batch, part._replace(row=row), made, values)
                row += len(batch)

    fields = [*from_arrow_schema(made.schema).fields, *[StructField(key, StringType()) for key in keys]]
    schema = StructType([*fields, StructField(BAD, StringType()), StructField(PLACE, FILE_PLACE)])
    return rows_of_units(spark, units, read, schema)


def _batch(rows: Sequence[Row], part: Part, made: Columns, values: Mapping[str, str | None]) -> pa.RecordBatch:
    """Consecutive rows, of which the first has the part's number.

    Args:
        values: of the file's folders.
    """
    name, count = part.uri.rpartition("/")[2], len(rows)
    bad = [one and f"{name} row {part.row + number}: {one}" for number, (_, one) in enumerate(rows)]
    arrays = made.arrays([row for row, _ in rows])
    arrays += [pa.array([value] * count, pa.string()) for value in values.values()]
    place = file_place(part.input, part.uri, part.start, part.length, range(part.row, part.row + count))
    names = [*made.kinds, *values, BAD, PLACE]
    return pa.RecordBatch.from_arrays([*arrays, pa.array(bad, pa.string()), place], names)
