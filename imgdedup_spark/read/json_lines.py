"""JSON lines files: rows are numbered by their order in the parts that Spark reads, and workers copy lines."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.load import load, load_files, of_listing

ENDINGS = frozenset({"jsonl", "ndjson", "json"})


class JsonLines(FileSource):
    """Rows of JSON lines files."""

    native: ClassVar[str] = "jsonl"
    copied: ClassVar[bool] = True

    def pictures(self, name: str) -> Column:
        """As ``Source.pictures``. A field that is a string in one row and a list in the next is the list's JSON text to
        Spark."""
        column = super().pictures(name)
        if not isinstance(self.schema[name].dataType, StringType):
            return column
        several = F.when(F.substring(F.trim(column), 1, 1) == "[", F.from_json(column, "array<string>"))
        return F.coalesce(several, F.when(column.isNotNull(), F.array(column)))


def is_json_lines(file: Listed) -> bool:
    """Whether a file is one by its ending."""
    return ending_of(file.name) in ENDINGS


def open_json_lines(spark: SparkSession, listing: Listing) -> JsonLines:
    """One data set of several inputs.

    Raises:
        UserError: Spark cannot read them, or their columns cannot be united.
    """
    every = [one for files in listing.files for one in files]
    arrays = [one.uri for one in every if storage.read_head(one.uri).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")]
    if arrays and len(arrays) < len(every):
        lines = next(one.uri for one in every if one.uri not in arrays)
        raise UserError(f"--input {arrays[0]}: holds an array, and {lines} lines: give each kind a run of its own")
    options = {"multiLine": "true"} if arrays else {}
    # One schema for all of them: each input alone might infer other types for the same column.
    base = listing.roots[0].folder if listing.keys else None
    schema = load(spark, "json", every, base=base, options=options).schema
    frames = load_files(spark, "json", listing, schema, base=bool(listing.keys), options=options)
    known = {**of_listing(listing, listing.keys), "options": options}
    return JsonLines.of(frames, **known, format="jsonl", scanner="json")
