"""Whatever else Spark reads: by the name of a data source."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import SparkSession

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.frames import resolves
from imgdedup_spark.read.source import Root, Source

#: Data sources whose files can be read one by one; a table format's cannot.
PLAIN_FORMATS = frozenset({"csv", "orc", "avro", "text", "json", "parquet"})


def open_by_name(spark: SparkSession, inputs: Sequence[str], name: str) -> Source:
    """One data set of several inputs.

    Raises:
        UserError: there is no such data source, it cannot read them, or their columns cannot be united.
    """
    frames = []
    for path in inputs:
        try:
            frame = spark.read.format(name).load(path)
            frame.schema  # noqa: B018 - Spark Connect reads lazily
        except Exception as error:
            # A missing data source is a Java exception of one kind in one version and another in the next.
            raise UserError(f"--input-format {name}: {first_line(error)}") from None
        frames.append(frame)
    roots = tuple(Root(path.rstrip("/"), path) for path in inputs)
    if all(resolves(frame, "_metadata.file_block_start") for frame in frames):
        scanner = name if name in PLAIN_FORMATS else None
        absolute = all(resolves(frame, "_metadata.row_index") for frame in frames)
        return FileSource.of(
            dict(enumerate(frames)), inputs=tuple(inputs), roots=roots, format=name, absolute=absolute, scanner=scanner
        )
    frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    return Source(frame, tuple(frame.columns), name, tuple(inputs), roots)
