"""What the kinds of files have in common whose rows the workers read themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.access import way_to
from imgdedup_spark.read.source import FileState

#: A part of a file, which begins with the input's number and the file's plain URI.
_Part = TypeVar("_Part", bound=tuple[Any, ...])
#: ``PLACE`` of rows in files.
FILE_PLACE = StructType(
    [
        StructField("input", IntegerType()),
        StructField("file", StringType()),
        StructField("start", LongType()),
        StructField("length", LongType()),
        StructField("row", LongType()),
    ]
)


def workers_open(uri: str) -> bool:
    """Whether the workers can open the file system of a plain URI."""
    try:
        storage.check_workers(uri)
    except UserError:
        return False
    return True


def workers_reach(uri: str) -> bool:
    """As ``workers_open``, if only slowly, by a JVM of their own."""
    return workers_open(uri) or way_to(*storage.split_uri(uri)[:2]).in_worker is not None


def file_place(index: int, uri: str, start: int, length: int, rows: range) -> pa.StructArray:
    """``PLACE`` of rows of one part of a file.

    Args:
        index: the input's number.
        uri: plain.
    """
    return encoded_place(index, storage.encoded(uri), start, length, rows)


def encoded_place(index: int, file: str, start: int, length: int, rows: range) -> pa.StructArray:
    """As ``file_place``, of a file that is spelled as Spark does it."""
    same = [
        pa.scalar(index, pa.int32()),
        file,
        pa.scalar(start, pa.int64()),
        pa.scalar(length, pa.int64()),
    ]
    arrays = [pa.repeat(value, len(rows)) for value in same]
    return pa.StructArray.from_arrays([*arrays, pa.array(np.arange(rows.start, rows.stop))], FILE_PLACE.names)


def units_of(units: Sequence[tuple[_Part, ...]], files: Sequence[FileState]) -> tuple[tuple[_Part, ...], ...]:
    """The units of work with the parts of these files alone; units of which nothing is left are gone."""
    wanted = {(one.input, storage.from_spark(one.uri)) for one in files}
    some = (tuple(part for part in unit if part[:2] in wanted) for unit in units)
    return tuple(unit for unit in some if unit)
