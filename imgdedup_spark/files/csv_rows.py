"""Rows of CSV and TSV files: a header, then lines of as many fields."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.listing import ending_of

# Bytes that are no UTF-8, as they are decoded.
_NO_TEXT = re.compile("[\udc80-\udcff]")


def csv_rows(uri: str) -> Iterator[tuple[Mapping[str, str | None], str | None]]:
    """Each row's values by column, null where a field is empty; and what is wrong with the row, for people.

    Quotes are doubled inside of quotes, which may hold line ends (RFC 4180); lines of nothing are no rows.

    Args:
        uri: plain; decompressed by its ending.

    Raises:
        UserError: the header names a column twice.
        OSError: the file cannot be read, or does not decompress.
    """
    # A picture in base64 is a field.
    csv.field_size_limit(sys.maxsize)
    opened, path = storage.open_fs(uri)
    codec = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(PurePosixPath(uri).suffix)
    stream = opened.open_input_stream(path, compression=codec)
    with io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="") as text:
        lines = csv.reader(text, delimiter="\t" if ending_of(uri) == "tsv" else ",")
        # As Spark names a column that has no name: pandas writes its index so.
        header = [name or f"_c{number}" for number, name in enumerate(next(lines, []))]
        twice = [name for number, name in enumerate(header) if name in header[:number]]
        if twice:
            raise UserError(f"{uri}: its header has the column `{twice[0]}` twice")
        while (values := _next(lines)) is not None:
            if isinstance(values, str):
                yield {}, values
            elif values:
                problem = _problem(values, header)
                if problem:
                    values = [one.encode("utf-8", "replace").decode() for one in values]
                yield {name: one or None for name, one in zip(header, values, strict=False)}, problem


def _next(lines: Iterator[list[str]]) -> list[str] | str | None:
    """The next row's values, or what is wrong with it; None behind the last."""
    try:
        return next(lines, None)
    except csv.Error as error:
        return f"not CSV: {error}"


def _problem(values: Sequence[str], header: Sequence[str]) -> str | None:
    if len(values) != len(header):
        return f"{len(values)} fields, and the header has {len(header)}"
    whole = "".join(values)
    return None if whole.isascii() or not _NO_TEXT.search(whole) else "not UTF-8"
