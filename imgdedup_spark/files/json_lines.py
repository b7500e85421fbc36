"""The rows of JSON files as they are written, and copies of those that are kept, byte for byte and without Spark.

A file is lines, or one array whose elements are its rows. Lines of white space are no rows, and a file that holds an
array is one share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.shares import Share
from imgdedup_spark.files.text_lines import BYTE_ORDER_MARK, SPACE, copy_lines, ended, lines_of

_NO_SPACE = re.compile(r"[^ \t\r\n]")
_DECODER = json.JSONDecoder()


def copy_json_lines(
    shares: Sequence[Share], dropped: Sequence[np.ndarray], out_uri: str, extra: Sequence[pa.Table] | None = None
) -> int:
    """Writes the rows of ``shares`` that are not dropped to one uncompressed file, in order; returns how many.

    Args:
        dropped: for each share the numbers **in the file** of the rows to leave out, in any order.
        out_uri: plain URI. The file appears there whole or not at all; if no row is kept there is none.
        extra: for each share a table with a row for each row of it, put behind the row's own fields.

    Raises:
        CopyMismatch: the shares do not hold so many rows. Nothing is written.
        UserError: a row has a field of the name of one in ``extra``.
        OSError: a file cannot be read or does not decompress: Hadoop's .lz4, for one, is not everybody else's.
    """
    if extra is None:
        return copy_lines(shares, dropped, out_uri, row_texts)
    fields = [one.to_pylist() for one in extra]
    return copy_lines(
        shares, dropped, out_uri, row_texts, lambda index, row, line: _with_fields(line, fields[index][row])
    )


def row_texts(share: Share) -> Iterator[bytes]:
    """Each row of a share as it is written, on one line, with its line end.

    Raises:
        CopyMismatch: the file is compressed, and the share not all of it.
        OSError: it cannot be read, or does not decompress.
    """
    lines = lines_of(share)
    first = next(lines, None)
    if first is not None:
        is_array = not share.start and first.lstrip(SPACE).startswith(b"[")
        lines = _elements(first + b"".join(lines)) if is_array else chain([first], lines)
    yield from map(ended, lines)


def holds_array(uri: str) -> bool:
    """Whether the rows of a file that is not compressed are the elements of one array."""
    return storage.read_head(uri).removeprefix(BYTE_ORDER_MARK).lstrip(SPACE).startswith(b"[")


def _elements(data: bytes) -> Iterator[bytes]:
    """The elements of an array, as they are written but for line ends; what does not parse is one row with all that
    comes after it, and lines behind the array are rows."""
    # Bytes that are no UTF-8 spoil only the element that they are in.
    text = data.decode("utf-8", "surrogateescape")
    at = text.index("[") + 1
    while (at := _after_space(text, at)) < len(text) and text[at] != "]":
        try:
            end = _DECODER.raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            end = len(text)
        # No string of JSON's holds a line end, so that these are between its parts.
        one = " ".join(line.strip(" \t") for line in re.split(r"[\r\n]+", text[at:end].rstrip()))
        yield one.encode("utf-8", "surrogateescape")
        at = _after_space(text, end)
        at += text.startswith(",", at)
    yield from (line for line in text[at + 1 :].encode("utf-8", "surrogateescape").splitlines() if line.strip())


def _after_space(text: str, start: int) -> int:
    found = _NO_SPACE.search(text, start)
    return found.start() if found else len(text)


def _with_fields(line: bytes, fields: dict[str, Any]) -> bytes:
    """A line with fields put at the end of its object, which is otherwise left as it is written.

    A line that is no object has no fields to Spark either and stays as it is. Raises UserError if the object
    has one of the fields already.
    """
    text = line.rstrip(SPACE)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return line
    if not isinstance(row, dict):
        return line
    for name in fields:
        if name in row:
            raise UserError(f"the input has a field {name} already: leave out --emit-hashes or rename the field")
    added = json.dumps(fields, ensure_ascii=False)[1:-1].encode("utf-8")
    return text[:-1] + (b", " if row else b"") + added + b"}" + line[len(text) :]
