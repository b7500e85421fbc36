"""Which kind of source the inputs are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from pyspark.sql import SparkSession

from imgdedup_spark.errors import UserError
from imgdedup_spark.read import folders, json_lines, parquet
from imgdedup_spark.read.listing import Listing, plain_path
from imgdedup_spark.read.source import Source
from imgdedup_spark.read.tables import open_by_name

#: Kinds told by the endings of files: how they are called, their endings, and what reads them.
KINDS: dict[str, tuple[frozenset[str], Callable[[SparkSession, Listing], Source]]] = {
    "parquet": (parquet.ENDINGS, parquet.open_parquet),
    "jsonl": (json_lines.ENDINGS, json_lines.open_json_lines),
    "images": (folders.ENDINGS, folders.open_folders),
}
_COMPRESSED = frozenset({"gz", "bz2", "zst", "lz4", "snappy", "deflate"})


def read_source(spark: SparkSession, inputs: Sequence[str], input_format: str | None) -> Source:
    """Reads several files, folders or globs as one data set, in the order given.

    Raises:
        UserError: an input matches no file, the format cannot be told or is unknown, or columns disagree.
    """
    if input_format is not None and input_format not in KINDS:
        return open_by_name(spark, inputs, input_format)
    listing = Listing.of(spark, inputs)
    return KINDS[input_format or _kind_of(listing)][1](spark, listing)


def _kind_of(listing: Listing) -> str:
    found: Counter[str] = Counter()
    for path, files in zip(listing.inputs, listing.uris, strict=True):
        endings = {_ending(uri) for uri in files}
        here = [kind for kind, (known, _) in KINDS.items() if endings & known]
        if not here:
            shown = ", ".join(sorted(f".{one}" for one in endings if one)[:5]) or "no ending"
            raise UserError(f"--input {path}: cannot tell the format from {shown}; say it with --input-format")
        found.update(here)
    if len(found) > 1:
        raise UserError(f"--input holds {' and '.join(sorted(found))} files; say with --input-format which to read")
    return next(iter(found))


def _ending(uri: str) -> str:
    parts = plain_path(uri).rpartition("/")[2].lower().split(".")
    if len(parts) > 2 and parts[-1] in _COMPRESSED:
        parts.pop()
    return parts[-1] if len(parts) > 1 else ""
