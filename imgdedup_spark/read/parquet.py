"""Parquet files: rows are numbered by the files themselves, and workers read pictures and copy rows without Spark."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql import SparkSession

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.listing import Listed
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.read.files import FileSource, load_files, of_listing
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


def is_parquet(file: Listed) -> bool:
    """Whether a file is one by its ending or, where it has none, by its first bytes."""
    name = file.name.rpartition("/")[2]
    if "." not in name:
        return storage.read_head(file.uri, 4) == b"PAR1"
    return name.rpartition(".")[2].lower() in ENDINGS


def open_parquet(spark: SparkSession, listing: Listing) -> ParquetFiles:
    """One data set of several inputs.

    Raises:
        UserError: Spark cannot read them, or their columns cannot be united.
    """
    frames = load_files(spark, "parquet", listing)
    return ParquetFiles.of(frames, **of_listing(listing), format="parquet", absolute=True, scanner="parquet")
