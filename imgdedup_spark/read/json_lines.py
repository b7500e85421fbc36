"""JSON lines files: rows are numbered by their order in the parts that Spark reads, and workers copy lines."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql import SparkSession

from imgdedup_spark.read.files import FileSource, load, of_listing
from imgdedup_spark.read.listing import Listing

ENDINGS = frozenset({"jsonl", "ndjson", "json"})


class JsonLines(FileSource):
    """Rows of JSON lines files."""

    native: ClassVar[str] = "jsonl"
    copied: ClassVar[bool] = True


def open_json_lines(spark: SparkSession, listing: Listing) -> JsonLines:
    """One data set of several inputs.

    Raises:
        UserError: Spark cannot read them, or their columns cannot be united.
    """
    # One schema for all of them: each input alone might infer other types for the same column.
    schema = load(spark, "json", listing.inputs).schema
    frames = [load(spark, "json", [path], schema) for path in listing.inputs]
    return JsonLines.of(frames, **of_listing(listing), format="jsonl", scanner="json")
