"""Parquet files: rows are numbered by the files themselves, and workers read pictures and copy rows without Spark."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql import SparkSession

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.read.files import FileSource, load, of_listing
from imgdedup_spark.read.listing import Listing

ENDINGS = frozenset({"parquet", "pq"})


class ParquetFiles(FileSource):
    """Rows of Parquet files."""

    copied: ClassVar[bool] = True

    def column_reader(self, column: str) -> ColumnReader | None:
        try:
            storage.check_workers(self.roots[0].read)
        except UserError:
            return None
        return ColumnReader(column)


def open_parquet(spark: SparkSession, listing: Listing) -> ParquetFiles:
    """One data set of several inputs.

    Raises:
        UserError: Spark cannot read them, or their columns cannot be united.
    """
    frames = [load(spark, "parquet", [path]) for path in listing.inputs]
    return ParquetFiles.of(frames, **of_listing(listing), format="parquet", absolute=True, scanner="parquet")
