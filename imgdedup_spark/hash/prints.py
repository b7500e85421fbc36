"""What a print consists of, and what one look at all of them tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, IntegerType, LongType, StringType, StructField, StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.read.order import count_rows

ERROR_TYPE = StructType(
    [
        StructField("position", IntegerType()),
        StructField("error", StringType()),
        StructField("message", StringType()),
    ]
)


MEASURED = [
    StructField("images", IntegerType()),
    StructField("width", IntegerType()),
    StructField("height", IntegerType()),
    StructField("bytes", LongType()),
    StructField("pixels", LongType()),
    StructField("errors", ArrayType(ERROR_TYPE)),
]


REMEMBERED = [StructField("digest", BinaryType()), StructField("known", IntegerType())]


def hash_columns(count: int) -> list[str]:
    return ["imagehash", *(f"verify{i}" for i in range(count - 1))]


@dataclass(frozen=True)
class Tally:
    """How much there is of one input."""

    rows: int
    images: int
    rows_with_errors: int


def count_prints(prints: DataFrame, in_pieces: bool = False) -> list[Row]:
    """What one look at the fingerprints tells, by piece or by input (see ``places.count_rows``): ``rows``, ``images``,
    ``errors`` (rows that have some), and the ``fewest`` and ``most`` hex digits of a hash (null without any)."""
    digits = F.length(F.when(F.col("images") > 0, F.col("imagehash")))
    return count_rows(
        prints,
        in_pieces,
        F.sum("images").alias("images"),
        F.count(F.when(F.size("errors") > 0, 1)).alias("errors"),
        F.min(digits).alias("fewest"),
        F.max(digits).alias("most"),
    )


def tally(counts: Iterable[Row]) -> dict[int | None, Tally]:
    """By number of the input; None where rows do not know theirs.

    Args:
        counts: of ``count_prints``.
    """
    found: dict[int | None, Tally] = {}
    for one in counts:
        so_far = found.get(one["input"], Tally(0, 0, 0))
        found[one["input"]] = Tally(
            so_far.rows + one["rows"], so_far.images + one["images"], so_far.rows_with_errors + one["errors"]
        )
    return found


def lengths_of(counts: Iterable[Row]) -> list[int]:
    """Hex digits of hashes, the extremes among them; none without any hash.

    Args:
        counts: of ``count_prints``.
    """
    return [one for row in counts for one in (row["fewest"], row["most"]) if one is not None]


def failed(prints: DataFrame) -> DataFrame:
    """The rows with at least one unreadable picture."""
    return prints.where(F.size("errors") > 0)


def key_parts(config: DedupConfig) -> Sequence[str]:
    """The columns of hashes (or embeddings) that make up a row's key."""
    return ["vector"] if config.is_embedding else hash_columns(len(config.specs))
