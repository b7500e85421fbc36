"""Whatever else Spark reads: by the name of a data source, or of a catalog's table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.frames import resolves, stores_of
from imgdedup_spark.read.source import ID, PLACE, Root, Source
from imgdedup_spark.spark.catalog import TABLE, open_pinned

#: Data sources whose files can be read one by one; a table format's cannot.
PLAIN_FORMATS = frozenset({"csv", "orc", "avro", "text", "json", "parquet"})
#: Where a row of a table stands: the columns that say so beside those of the table.
_WHERE = {"iceberg": ("_file", "_pos"), "lance": ("_fragid", "_rowaddr")}


def open_by_name(spark: SparkSession, inputs: Sequence[str], name: str) -> Source:
    """One data set of several inputs. Tables that have versions are read at the one they have now.

    Raises:
        UserError: there is no such data source, it cannot read them, or their columns cannot be united.
    """
    frames, kinds = [], []
    for path in inputs:
        try:
            frame, kind = open_pinned(spark, path, name)
            frame.schema  # noqa: B018 - Spark Connect reads lazily
        except Exception as error:
            # A missing data source is a Java exception of one kind in one version and another in the next.
            what = f"--input {path}" if name == TABLE else f"--input-format {name}"
            raise UserError(f"{what}: {first_line(error)}") from None
        frames.append(frame)
        kinds.append(kind)
    roots = tuple(Root(path.rstrip("/"), path) for path in inputs)
    if all(resolves(frame, "_metadata.file_block_start") for frame in frames):
        scanner = name if name in PLAIN_FORMATS else None
        return FileSource.of(
            dict(enumerate(frames)),
            inputs=tuple(inputs),
            roots=roots,
            format=name,
            absolute=all(resolves(frame, "_metadata.row_index") for frame in frames),
            scanner=scanner,
            stores=() if scanner else stores_of(uri for frame in frames for uri in frame.inputFiles()),
        )
    columns = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames).columns
    [kind, *others] = sorted(set(kinds))
    if kind in _WHERE and not others and not set(_WHERE[kind]) & set(columns):
        frames = [_placed(frame, kind, number, len(frames) > 1) for number, frame in enumerate(frames)]
    frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    return Source(frame, tuple(columns), name, tuple(inputs), roots)


def _placed(frame: DataFrame, kind: str, number: int, several: bool) -> DataFrame:
    """With where a row of a table stands, and an id made of that."""
    first, second = map(F.col, _WHERE[kind])
    if kind == "lance":  # the number of a fragment, and in its address that of the row in it
        name, row = first.cast("string"), second.bitwiseAND(F.lit((1 << 32) - 1))
        file = F.lpad(name, 10, "0")  # in the order of the numbers
    else:
        # What lies elsewhere than in the table's own folder has all of its path.
        name, row, file = F.regexp_replace(first, "^.*/data/", ""), second, first
    place = F.struct(F.lit(number).alias("input"), file.alias("file"), row.alias("row")).alias(PLACE)
    given = F.concat(F.lit(f"{number}/" if several else ""), name, F.lit("#"), row)
    return frame.select("*", place, given.alias(ID))
