"""CSV and TSV files with a header, as the workers read them: all columns are strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyspark.sql import SparkSession

from imgdedup_spark.files.csv_rows import csv_rows
from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.read.by_workers import workers_open
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.load import load_files, of_listing
from imgdedup_spark.read.rows import Part, Row, RowFiles, open_rows

ENDINGS = frozenset({"csv", "tsv"})
_BATCH_ROWS = 1024
# Of Spark's own reader, for what Spark alone opens.
_OPTIONS = {"header": "true", "multiLine": "true", "escape": '"'}


def is_csv(file: Listed) -> bool:
    """Whether a file is one by its ending."""
    return ending_of(file.name) in ENDINGS


def open_csv(spark: SparkSession, listing: Listing) -> FileSource:
    """One data set of several inputs.

    Raises:
        UserError: a file cannot be read, or names do not go together.
    """
    if not all(workers_open(root.folder) for root in listing.roots):
        frames = load_files(spark, "csv", listing, options=_OPTIONS)
        keys = listing.keys_beside(name for frame in frames.values() for name in frame.columns)
        return FileSource.of(frames, **of_listing(listing, keys), options=_OPTIONS, format="csv", scanner="csv")
    # Where a line begins, only what comes before it tells: quotes may hold line ends.
    return RowFiles(**open_rows(spark, listing, lambda file: False, _rows), format="csv", scanner="csv")


def _rows(part: Part) -> Iterator[Sequence[Row]]:
    return grouped(csv_rows(part.uri), lambda row: 1, _BATCH_ROWS)
