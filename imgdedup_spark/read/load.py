"""Files as Spark's own readers load them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files.listing import Listed
from imgdedup_spark.files.uris import NO_VALUE, escaped
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
        "keys": tuple(keys),
        "paths": tuple(tuple(escaped(one.uri) for one in files) for files in listing.files),
        "listed": tuple(listing.states()),
    }


def load_files(
    spark: SparkSession,
    kind: str,
    listing: Listing,
    schema: StructType | None = None,
    *,
    options: Mapping[str, str] = NO_OPTIONS,
) -> dict[int, DataFrame]:
    """The rows of each input that has files, by its number, as Spark's own reader of this kind reads them.

    Args:
        options: of the reader.

    Raises:
        UserError: Spark cannot.
    """
    return {
        index: load(spark, kind, files, schema, options=options) for index, files in enumerate(listing.files) if files
    }


def load(
    spark: SparkSession,
    kind: str,
    files: Sequence[Listed],
    schema: StructType | None = None,
    *,
    options: Mapping[str, str] = NO_OPTIONS,
) -> DataFrame:
    """Files as Spark's own reader of this kind reads them.

    Args:
        options: of the reader.

    Raises:
        UserError: Spark cannot.
    """
    reader = spark.read.format(kind).options(**options)
    if schema is not None:
        reader = reader.schema(schema)
    try:
        frame = reader.load([escaped(one.uri) for one in files])
        frame.schema  # noqa: B018 - Spark Connect finds out here what classic Spark finds out above
    except AnalysisException as error:
        shown = f"{files[0].uri}{' …' if len(files) > 1 else ''}"
        raise UserError(f"--input {shown}: {first_line(error)}") from None
    return frame


def unquoted(text: Column) -> Column:
    """As ``urllib.parse.unquote``: a ``%`` that is none of an encoding stays."""
    return F.url_decode(F.regexp_replace(F.regexp_replace(text, r"\+", "%2B"), "%(?![0-9A-Fa-f]{2})", "%25"))


def folder_value(key: str) -> Column:
    """The column of this name that a scan's folders ``key=value`` tell, as ``files.uris.folder_values`` does."""
    path = unquoted(F.col("_metadata.file_path"))
    found = f"(?isu)^.*/{re.escape(key)}=([^/]*)/"
    value = F.when(path.rlike(found), F.regexp_extract(path, found, 1))
    return F.when(value != NO_VALUE, unquoted(value)).alias(key)
