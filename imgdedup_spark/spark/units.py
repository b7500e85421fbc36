"""Rows that the workers read themselves: one task for each unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from imgdedup_spark.files.access import Carried

U = TypeVar("U")


def rows_of_units(
    spark: SparkSession, units: Sequence[U], read: Callable[[U], Iterator[pa.RecordBatch]], schema: StructType
) -> DataFrame:
    """The rows of all units (lazy).

    Args:
        units: travel to the workers with the code.
        read: a unit's rows, of ``schema``.
    """

    def work(batches: Iterator[Any]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from read(units[number])

    # A range of as many slices as numbers: each task has one unit.
    return spark.range(0, len(units), 1, max(1, len(units))).mapInArrow(Carried(work), schema)
