"""JSON lines files: rows are numbered by their order in the parts that Spark reads, and workers copy lines."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql import SparkSession

from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.read.files import FileSource, load, load_files, of_listing
from imgdedup_spark.read.listing import Listing, escaped

ENDINGS = frozenset({"jsonl", "ndjson", "json"})


class JsonLines(FileSource):
    """Rows of JSON lines files."""

    native: ClassVar[str] = "jsonl"
    copied: ClassVar[bool] = True


def is_json_lines(file: Listed) -> bool:
    """Whether a file is one by its ending."""
    return ending_of(file.name) in ENDINGS


def open_json_lines(spark: SparkSession, listing: Listing) -> JsonLines:
    """One data set of several inputs.

    Raises:
        UserError: Spark cannot read them, or their columns cannot be united.
    """
    # One schema for all of them: each input alone might infer other types for the same column.
    every = [escaped(one.uri) for files in listing.files for one in files]
    schema = load(spark, "json", every, base=listing.roots[0].folder if listing.keys else None).schema
    frames = load_files(spark, "json", listing, schema, base=bool(listing.keys))
    return JsonLines.of(frames, **of_listing(listing, listing.keys), format="jsonl", scanner="json")
