"""Files as Spark's own readers load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files.listing import Listed
from imgdedup_spark.files.uris import escaped
from imgdedup_spark.read.listing import Listing

NO_OPTIONS: Mapping[str, str] = {}


def of_listing(listing: Listing, keys: Sequence[str]) -> dict[str, Any]:
    """The attributes of a source that its listing tells.

    Args:
        keys: of folders named ``key=value`` that add columns.
    """
    return {
        "inputs": listing.inputs,
        "roots": listing.roots,
        "partitioned": bool(keys),
        "paths": tuple(tuple(escaped(one.uri) for one in files) for files in listing.files),
        "listed": tuple(listing.states()),
    }


def load_files(
    spark: SparkSession,
    kind: str,
    listing: Listing,
    schema: StructType | None = None,
    *,
    base: bool,
    options: Mapping[str, str] = NO_OPTIONS,
) -> dict[int, DataFrame]:
    """The rows of each input that has files, by its number, as Spark's own reader of this kind reads them.

    Args:
        base: whether folders named ``key=value`` add columns.
        options: of the reader.

    Raises:
        UserError: Spark cannot.
    """
    return {
        index: load(spark, kind, files, schema, base=root.folder if base else None, options=options)
        for index, (files, root) in enumerate(zip(listing.files, listing.roots, strict=True))
        if files
    }


def load(
    spark: SparkSession,
    kind: str,
    files: Sequence[Listed],
    schema: StructType | None = None,
    *,
    base: str | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
) -> DataFrame:
    """Files as Spark's own reader of this kind reads them.

    Args:
        base: below it folders named ``key=value`` add columns.
        options: of the reader.

    Raises:
        UserError: Spark cannot.
    """
    reader = spark.read.format(kind).options(**options)
    if base is not None:
        reader = reader.option("basePath", base)
    if schema is not None:
        reader = reader.schema(schema)
    try:
        frame = reader.load([escaped(one.uri) for one in files])
        frame.schema  # noqa: B018 - Spark Connect finds out here what classic Spark finds out above
    except AnalysisException as error:
        shown = f"{files[0].uri}{' …' if len(files) > 1 else ''}"
        raise UserError(f"--input {shown}: {first_line(error)}") from None
    return frame
