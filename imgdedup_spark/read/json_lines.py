"""JSON files: lines, or an array in each. The workers read rows as they are written, and copy them. What Spark alone
opens, its own reader reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.json_lines import holds_array, row_texts
from imgdedup_spark.files.json_rows import parse_row
from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.files.shares import Share, grouped
from imgdedup_spark.files.text_lines import can_read, can_split
from imgdedup_spark.read.by_workers import workers_open
from imgdedup_spark.read.columns import col
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.load import load, load_files, of_listing
from imgdedup_spark.read.rows import Part, Row, RowFiles, open_rows
from imgdedup_spark.read.source import BAD

ENDINGS = frozenset({"jsonl", "ndjson", "json"})
#: Bytes of text in one batch, and what a row counts besides: at most a thousand rows.
BATCH_BYTES, ROW_BYTES = 4 << 20, 4 << 10


class JsonLines(FileSource):
    """Rows of JSON files as Spark reads them."""

    native: ClassVar[str] = "jsonl"

    def pictures(self, name: str) -> Column:
        """As ``Source.pictures``. A field that is a string in one row and a list in the next is text."""
        return lists_in(col(name)) if isinstance(self.schema[name].dataType, StringType) else col(name)


@dataclass(frozen=True)
class ReadJson(RowFiles):
    """Rows of JSON files as the workers read them."""

    native: ClassVar[str] = "jsonl"
    copied: ClassVar[bool] = True

    def pictures(self, name: str) -> Column:
        """As ``Source.pictures``. A field that is a string in one row and a list or an object in the next is text."""
        return lists_in(col(name)) if self.is_any(name) else col(name)


def lists_in(column: Column) -> Column:
    """An array of strings for each text, which may be one in JSON."""
    several = F.when(F.substring(F.trim(column), 1, 1) == "[", F.from_json(column, "array<string>"))
    return F.coalesce(several, F.when(column.isNotNull(), F.array(column)))


def is_json_lines(file: Listed) -> bool:
    """Whether a file is one by its ending. A ``.json`` of one object, laid out on many lines, is somebody's notes."""
    ending = ending_of(file.name)
    if ending == "json" and can_split(file.uri):
        return storage.read_head(file.uri).split(b"\n")[0].strip() != b"{"
    return ending in ENDINGS


def open_json_lines(spark: SparkSession, listing: Listing) -> FileSource:
    """One data set of several inputs.

    Raises:
        UserError: a file cannot be read, or names do not go together.
    """
    every = [one for files in listing.files for one in files]
    if not all(workers_open(root.folder) for root in listing.roots) or not all(can_read(one.uri) for one in every):
        return _through_spark(spark, listing, every)
    return ReadJson(**open_rows(spark, listing, _is_divisible, _rows), format="jsonl", scanner="json")


def _is_divisible(file: Listed) -> bool:
    return can_split(file.uri) and not holds_array(file.uri)


def _rows(part: Part) -> Iterator[Sequence[Row]]:
    texts = row_texts(Share(part.uri, 0, 0, part.start, part.length))
    for some in grouped(texts, lambda text: len(text) + ROW_BYTES, BATCH_BYTES):
        parsed = map(parse_row, some)
        yield [(one, None) if isinstance(one, dict) else ({}, one) for one in parsed]


def _through_spark(spark: SparkSession, listing: Listing, every: Sequence[Listed]) -> JsonLines:
    arrays = [one.uri for one in every if holds_array(one.uri)]
    if arrays and len(arrays) < len(every):
        lines = next(one.uri for one in every if one.uri not in arrays)
        raise UserError(f"--input {arrays[0]}: holds an array, and {lines} lines: give each kind a run of its own")
    options = {"multiLine": str(bool(arrays)).lower(), "columnNameOfCorruptRecord": BAD}
    # One schema for all of them: each input alone might infer other types for the same column.
    found = load(spark, "json", every, options=options).schema
    schema = StructType([one for one in found.fields if one.name != BAD] + [StructField(BAD, StringType())])
    frames = load_files(spark, "json", listing, schema, options=options)
    known = {**of_listing(listing, listing.keys_beside(schema.names)), "options": options}
    return JsonLines.of(frames, **known, format="jsonl", scanner="json")
