"""What is wrong with a row's pictures: the entries of a print's ``errors``."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, IntegerType, StringType, StructField, StructType

from imgdedup_spark.read.source import BAD

ERROR_TYPE = StructType(
    [
        StructField("position", IntegerType()),
        StructField("error", StringType()),
        StructField("message", StringType()),
        StructField("level", StringType()),
    ]
)
#: Characters that are shown of what is wrong with a line.
_SHOWN = 300
#: Levels of the entries of ``errors``: a picture was not read, or was read although something is wrong with it.
ERROR, WARNING = LEVELS = ("error", "warning")


def failed(prints: DataFrame) -> DataFrame:
    """The rows with at least one unreadable picture."""
    return prints.where(has_errors())


def readable(prints: DataFrame) -> DataFrame:
    """All others, those with warnings among them."""
    return prints.where(~has_errors())


def has_errors() -> Column:
    """Of a print, whether one of its pictures is unreadable."""
    return F.exists("errors", lambda one: one["level"] == ERROR)


def errors_only() -> Column:
    """The entries of a print's ``errors`` that are no warnings."""
    return F.filter("errors", lambda one: one["level"] == ERROR)


def problem(code: str, message: Column) -> Column:
    """An array of one entry, an error of a row's first picture."""
    parts = (F.lit(0).alias("position"), F.lit(code).alias("error"), message.alias("message"))
    return F.array(F.struct(*parts, F.lit(ERROR).alias("level"))).cast(ArrayType(ERROR_TYPE))


def told(prints: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Prints with an error for every row that is none (``BAD``), and nulls in the ``columns`` that make up its key."""
    fine = F.col(BAD).isNull()
    errors = F.when(fine, F.col("errors")).otherwise(problem("bad_row", F.substring(BAD, 1, _SHOWN)))
    nothing = {name: F.when(fine, F.col(name)) for name in columns}
    return prints.withColumns({"errors": errors, **nothing}).drop(BAD)
