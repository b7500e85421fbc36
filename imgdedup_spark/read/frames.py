"""DataFrames of the caller's."""

from __future__ import annotations

import os
import re

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.read.source import ID, PLACE, Source
from imgdedup_spark.spark.workspace import Stage


def frame_source(frame: DataFrame, id_col: str | None, stage: Stage) -> Source:
    """A DataFrame of the caller's.

    Its rows have no order of their own. Rows straight from Parquet files are ordered as in the files, others by
    ``id_col``; without either they are numbered once.

    Args:
        stage: freezes a DataFrame.
    """
    columns = tuple(frame.columns)
    if frame.inputFiles() and resolves(frame, "_metadata.row_index"):
        file, row = F.col("_metadata.file_path"), F.col("_metadata.row_index")
        place = F.struct(F.lit(0).alias("input"), file.alias("file"), row.alias("row")).alias(PLACE)
        if id_col is not None:
            return Source(frame.select("*", place), columns)
        shared = os.path.commonpath([_short_uri(uri).rpartition("/")[0] for uri in frame.inputFiles()])
        name = F.substring(file, len(shared) + 2, 1 << 20)
        return Source(frame.select("*", place, F.concat(name, F.lit("#"), row).alias(ID)), columns)
    if id_col is not None:
        return Source(frame, columns)
    # Frozen because the numbers must be the same at every reading, and nothing else makes them so.
    return Source(stage("numbered", frame.withColumn(ID, F.monotonically_increasing_id())), columns)


def _short_uri(uri: str) -> str:
    """``file:///tmp/a`` as file listings have it → ``file:/tmp/a`` as ``_metadata.file_path`` has it."""
    return re.sub(r"^file:/+", "file:/", uri)


def resolves(frame: DataFrame, name: str) -> bool:
    """Whether a hidden column is there. Spark 4 logs a failed look-up as an error even when it is expected."""
    import logging

    logger = logging.getLogger("DataFrameQueryContextLogger")
    disabled, logger.disabled = logger.disabled, True
    try:
        frame.select(name).schema  # noqa: B018
        return True
    except AnalysisException:
        return False
    finally:
        logger.disabled = disabled
