"""DataFrames of the caller's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.files import storage
from imgdedup_spark.read.source import ID, PLACE, Source
from imgdedup_spark.spark.roots import read_roots


def frame_source(frame: DataFrame, id_col: str | None, freeze: Callable[[DataFrame], DataFrame]) -> Source:
    """A DataFrame of the caller's.

    Its rows have no order of their own. Rows straight from Parquet files are ordered as in the files, others by
    ``id_col``; without either they are numbered once.

    Args:
        freeze: makes a DataFrame's rows the same at every reading.
    """
    files = frame.inputFiles()
    source = Source(frame, tuple(frame.columns), stores=stores_of(files))
    if files and resolves(frame, "_metadata.row_index"):
        # As the command line has names; a plus sign is one, and no space.
        file, row = F.expr("url_decode(replace(_metadata.file_path, '+', '%2B'))"), F.col("_metadata.row_index")
        place = F.struct(F.lit(0).alias("input"), file.alias("file"), row.alias("row")).alias(PLACE)
        if id_col is not None:
            return replace(source, frame=frame.select("*", place))
        if not _repeats(frame):
            shared = os.path.commonpath([_short_uri(storage.from_spark(uri)).rpartition("/")[0] for uri in files])
            name = F.substring(file, len(shared) + 2, 1 << 20)
            return replace(source, frame=frame.select("*", place, F.concat(name, F.lit("#"), row).alias(ID)))
    if id_col is not None:
        return source
    # Frozen because the numbers must be the same at every reading, and nothing else makes them so.
    return replace(source, frame=freeze(frame.withColumn(ID, F.monotonically_increasing_id())))


def _repeats(frame: DataFrame) -> bool:
    """Whether a row of a file is there more than once, as after ``explode`` or a join.

    Looks at no column of the user's, and counts the different numbers in bitmaps: 4 KiB for 32,768 rows are shuffled.
    """
    rows = frame.select(F.col("_metadata.file_path").alias("file"), F.col("_metadata.row_index").alias("row"))
    different = F.expr("bitmap_count(bitmap_construct_agg(bitmap_bit_position(row)))")
    counts = rows.groupBy("file", F.expr("bitmap_bucket_number(row)").alias("bucket")).agg(
        F.count(F.lit(1)).alias("rows"), different.alias("different")
    )
    return bool(counts.where("rows > different").limit(1).collect())


def stores_of(files: Iterable[str]) -> tuple[str, ...]:
    """The file systems that files lie on, but the local one."""
    found = {storage.split_uri(uri)[:2] for uri in files}
    return tuple(f"{scheme}://{authority}/" for scheme, authority in sorted(found) if scheme != "file")


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


def places_of_call(
    df: DataFrame, config: DedupConfig, staging: str | None, index: str | None, against: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """All that a call may open on a store, each behind its argument."""
    yield from (("df", root) for root in read_roots(df))
    yield from (("against", path) for path in against)
    yield from (("background_set", path) for path in config.background_sets)
    yield from (("allow_store", prefix) for prefix in config.allow_store)
    single = {"staging": staging, "index": index, "image_root": config.image_root, "never": config.never}
    yield from ((argument, path) for argument, path in single.items() if path)
