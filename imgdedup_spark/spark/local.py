"""What is small, on its way between Spark and the driver."""

from __future__ import annotations

import pyarrow as pa
import pyspark
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType
from pyspark.sql.utils import is_remote

from imgdedup_spark.files import storage


def is_shared(uri: str) -> bool:
    """Whether Spark finds at a place what the driver writes there: the disk of a Connect server may be another."""
    return not (is_remote() and storage.is_local(uri))


def to_driver(frame: DataFrame) -> pa.Table:
    """A frame as Spark brings it to the driver."""
    if hasattr(frame, "toArrow"):
        return frame.toArrow()
    # PySpark 3.5 has the same under names of its own.
    if hasattr(frame, "_collect_as_arrow"):
        batches = frame._collect_as_arrow()
        return pa.Table.from_batches(batches) if batches else to_arrow_schema(frame.schema).empty_table()
    return frame.sparkSession.client.to_table(frame._plan.to_proto(frame.sparkSession.client))[0]


def from_driver(spark: SparkSession, table: pa.Table, schema: StructType | None = None) -> DataFrame:
    """A table as a frame that is part of the plan, whatever made it.

    Args:
        schema: None for what Spark makes of Arrow's.
    """
    schema = schema or from_arrow_schema(table.schema)
    if not len(table):
        return spark.createDataFrame([], schema)  # columns without chunks have no type for Spark
    if pyspark.__version__.startswith("3."):
        return spark.createDataFrame([tuple(row.values()) for row in table.to_pylist()], schema)
    return spark.createDataFrame(table, schema)
