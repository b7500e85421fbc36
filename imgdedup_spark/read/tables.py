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
from imgdedup_spark.spark.catalog import TABLE, VERSIONED, TableFormat, open_pinned

#: Data sources whose files can be read one by one; a table format's cannot.
PLAIN_FORMATS = frozenset({"csv", "orc", "avro", "text", "json", "parquet"})


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
        blobs = [one.name for one in frame.schema if one.metadata.get("lance-encoding:blob") == "true"]
        if blobs:  # its connector gives no bytes for them, and no error
            raise UserError(f"--input {path}: {blobs[0]} is a blob column of Lance's, which Spark does not read")
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
    form = VERSIONED.get(kinds[0]) if len(set(kinds)) == 1 else None
    if form is not None and form.place is not None and not set(form.place) & set(columns):
        frames = [_placed(frame, form, number, len(frames) > 1) for number, frame in enumerate(frames)]
    frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    return Source(frame, tuple(columns), name, tuple(inputs), roots)


def _placed(frame: DataFrame, form: TableFormat, number: int, several: bool) -> DataFrame:
    """With where a row of a table stands, and an id made of that."""
    name, part, row = form.placed()
    place = F.struct(F.lit(number).alias("input"), part.alias("file"), row.alias("row")).alias(PLACE)
    return frame.select("*", place, F.concat(F.lit(f"{number}/" if several else ""), name, F.lit("#"), row).alias(ID))
