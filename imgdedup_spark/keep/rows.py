"""The rows of the source again, with their numbers, and without those that go."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.columns import col
from imgdedup_spark.read.order import ORDER, in_pieces, placed_again
from imgdedup_spark.read.source import ID, PLACE
from imgdedup_spark.spark.joins import BROADCAST_KEYS

# Beside the user's columns, ours have names that no column of a user's has.
_MINE = "__imgdedup_"


#: A row's number in input order.
ROW = _MINE + ORDER


KEY = _MINE + "key"


def with_order(found: Found, frame: DataFrame | None = None) -> DataFrame:
    """The source's rows again (or those of ``frame``, a part of them), each with its number in ``ROW``, and without
    ``PLACE``."""
    source, config = found.source, found.config
    if source.in_pieces:
        rows = source.frame if frame is None else frame
        return in_pieces(rows, source, placed_again(found.pieces, source, rows), "", _MINE)
    key = col(config.id_col) if config.id_col else F.col(ID)
    numbers = found.prints.select(F.col("id").alias(KEY), F.col(ORDER).alias(ROW))
    return source.frame.drop(PLACE).join(numbers, key == F.col(KEY)).drop(KEY)


def without(found: Found, gone: DataFrame, count: int, part: DataFrame | None = None) -> DataFrame:
    """The source's rows but those whose ``order`` is in ``gone``.

    Args:
        count: rows of ``gone``, about.
        part: some of the source's rows, with ``PLACE``; None for all.
    """
    # The rows may hold pictures: a broadcast of the numbers of the dropped ones keeps them out of a shuffle.
    few = count <= BROADCAST_KEYS * 20
    if found.source.in_pieces:
        gone = gone.withColumnRenamed(ORDER, ROW)
        return with_order(found, part).join(F.broadcast(gone) if few else gone, ROW, "left_anti")
    ids = gone.join(found.prints.select(ORDER, F.col("id").alias(KEY)), ORDER).select(KEY)
    return found.source.frame.join(F.broadcast(ids) if few else ids, key_column(found) == F.col(KEY), "left_anti")


def key_column(found: Found) -> Column:
    return col(found.config.id_col) if found.config.id_col else F.col(ID)
