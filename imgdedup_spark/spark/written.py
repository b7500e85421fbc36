"""Files that the job has written, read back at paths that are no globs, whatever characters are in them."""

from __future__ import annotations

import re
from functools import reduce

import pyspark
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.sql.utils import is_remote

from imgdedup_spark.files.uris import escaped

_MAGIC = re.compile(r"[][{}*?\\]")


def read_back(spark: SparkSession, schema: StructType | str, *paths: str, kind: str = "parquet") -> DataFrame:
    """The rows of some files or folders (lazy).

    Args:
        paths: plain URIs.
    """
    reader = spark.read.schema(schema).format(kind)
    if not any(map(_MAGIC.search, paths)):
        return reader.load(list(paths))
    if is_remote():  # Connect heeds no such option
        return reader.load([escaped(path) for path in paths])
    # Escaped, a name with a colon is still none that Hadoop's globs can have. Spark has an option to leave globs out,
    # with which it reads each of several paths as often as there are paths: so one by one.
    literal = reader.option("__globPaths__", "false")
    return reduce(DataFrame.unionByName, [literal.load(path) for path in paths])


def write_counted(frame: DataFrame, folder: str) -> int | None:
    """Writes a frame as Parquet, and says how many rows the tasks have written; None where Spark does not tell."""
    if is_remote() and pyspark.__version__.startswith("3."):
        frame.write.mode("overwrite").parquet(folder)
        return None
    seen = Observation()
    frame.observe(seen, F.count(F.lit(1)).alias("rows")).write.mode("overwrite").parquet(folder)
    return int(seen.get["rows"])
