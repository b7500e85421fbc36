"""Lists of paths: a picture's path or URL on each line, whatever bytes its name has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.json_rows import Columns
from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.files.shares import Share, grouped
from imgdedup_spark.files.text_lines import can_read, can_split, lines_of
from imgdedup_spark.kernels.pictures.forms import QUOTED
from imgdedup_spark.read.by_workers import workers_open
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.rows import Part, Row, RowFiles, open_rows

ENDINGS = frozenset({"txt", "lst"})
_IMAGE = pa.struct([("path", pa.string()), (QUOTED, pa.string())])
_MADE = Columns({"path": pa.string(), "image": _IMAGE}, {"path": ("path",), "image": ("image",)})
_BATCH_ROWS = 1024
# A picture has about as many times the bytes of its line.
_WEIGHT = 1000


@dataclass(frozen=True)
class PathLists(RowFiles):
    """Rows of ``path`` and, to be hashed, ``image``: a struct that names the file, which the workers read."""

    native: ClassVar[str] = "list"
    copied: ClassVar[bool] = True

    def shown_path(self) -> Column:
        return F.col("path")


def is_list(file: Listed) -> bool:
    """Whether a file is one by its ending."""
    return ending_of(file.name) in ENDINGS


def open_lists(spark: SparkSession, listing: Listing) -> PathLists:
    """One data set of several inputs.

    Raises:
        UserError: a list cannot be read.
    """
    for root in listing.roots:
        if not workers_open(root.folder):
            raise UserError(
                f"--input {root.folder}: lists of paths are read by the workers, which cannot open this store"
            )
    for one in (one for files in listing.files for one in files):
        if not can_read(one.uri):
            raise UserError(f"--input {one.uri}: compressed in a way that only Hadoop reads; decompress it")
    found = open_rows(
        spark, listing, lambda file: can_split(file.uri), _rows, made=_MADE, weight=_WEIGHT, blanks=_blanks
    )
    return PathLists(**{**found, "columns": ("path",)}, format="list", scanner="text", own_structs=True)


def _share(part: Part) -> Share:
    return Share(part.uri, 0, 0, part.start, part.length)


def _blanks(part: Part) -> int:
    return sum(1 for _ in lines_of(_share(part), blank=True))


def _rows(part: Part) -> Iterator[Sequence[Row]]:
    for some in grouped(lines_of(_share(part)), lambda line: 1, _BATCH_ROWS):
        yield [(_row(line.rstrip(b"\r\n")), None) for line in some]


def _row(line: bytes) -> dict[str, object]:
    text = line.decode("utf-8", "surrogateescape")
    shown = line.decode("utf-8", "backslashreplace")
    return {"path": shown, "image": {"path": shown, QUOTED: storage.encoded(text)}}
