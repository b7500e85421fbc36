"""The rows of JSON files as they are written, and copies of those that are kept, byte for byte and without Spark.

A file is lines, or one array whose elements are its rows. Which lines are in a share follows Hadoop
(``LineRecordReader``): a line that begins at the very start of a share is the one's before it, lines of white space are
no rows, and a compressed file is one share, as is one that holds an array.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import CopyMismatch, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.shares import Share, kept_masks

# Bytes read or written at once.
_BLOCK_BYTES = 1 << 20
# What Hadoop decompresses by file ending, and pyarrow's names for it. None: formats that only Hadoop reads.
_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".deflate": None, ".snappy": None, ".lzo": None}
_JSON_SPACE = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINES = re.compile(rb"[^\r\n]*(?:\r?\n|\r|$)")
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
    kept = kept_masks(shares, dropped)
    rows = int(sum(mask.sum() for mask in kept))
    if rows:
        with storage.open_output(out_uri) as stream, pa.BufferedOutputStream(stream, _BLOCK_BYTES) as output:
            for index, (share, mask) in enumerate(zip(shares, kept, strict=True)):
                for line in _kept_lines(share, mask, None if extra is None else extra[index].to_pylist()):
                    output.write(line)
    return rows


def _kept_lines(share: Share, kept: np.ndarray, extra: list[dict[str, Any]] | None) -> Iterator[bytes]:
    if not kept.any():
        return
    wanted = kept.tolist()
    row = -1
    for row, line in enumerate(row_texts(share)):
        if row == share.rows:
            break
        if wanted[row]:
            yield line if extra is None else _with_fields(line, extra[row])
    if row + 1 != share.rows:
        raise CopyMismatch(f"{share.uri}: not the {share.rows} rows from byte {share.start} that were read")


def row_texts(share: Share) -> Iterator[bytes]:
    """Each row of a share as it is written, on one line, with its line end.

    Raises:
        CopyMismatch: the file is compressed, and the share not all of it.
        OSError: it cannot be read, or does not decompress.
    """
    lines = _lines(share)
    first = next(lines, None)
    if first is not None:
        is_array = not share.start and first.lstrip(_JSON_SPACE).startswith(b"[")
        lines = _elements(first + b"".join(lines)) if is_array else chain([first], lines)
    yield from (line if line.endswith(b"\n") else line + b"\n" for line in lines)


def holds_array(uri: str) -> bool:
    """Whether the rows of a file that is not compressed are the elements of one array."""
    return storage.read_head(uri).removeprefix(_BYTE_ORDER_MARK).lstrip(_JSON_SPACE).startswith(b"[")


def can_split(uri: str) -> bool:
    """Whether workers can read parts of a file."""
    return PurePosixPath(uri).suffix not in _CODECS


def can_read(uri: str) -> bool:
    """Whether workers can read a file at all. Hadoop's own .lz4 is not everybody else's."""
    return PurePosixPath(uri).suffix not in _CODECS.keys() - {".gz", ".bz2", ".zst"}


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


def _lines(share: Share) -> Iterator[bytes]:
    """The share's lines that are not empty."""
    opened, path = storage.open_fs(share.uri)
    ending = PurePosixPath(path).suffix
    end: float = share.start + share.length
    if ending not in _CODECS:
        stream = opened.open_input_file(path)
        stream.seek(share.start)
    elif _CODECS[ending] is None or share.start > 0 or end < opened.get_file_info(path).size:
        raise CopyMismatch(f"{share.uri}: compressed in a way that only Hadoop reads")
    else:
        stream, end = opened.open_input_stream(path, compression=_CODECS[ending]), float("inf")
    begin = share.start
    with io.BufferedReader(stream, _BLOCK_BYTES) as lines:
        for line in lines:
            if begin > end:
                return
            if begin == 0 or begin > share.start:
                # The mark belongs to the file, not to its first line.
                yield from _split(line.removeprefix(_BYTE_ORDER_MARK) if begin == 0 else line)
            begin += len(line)


def _split(line: bytes) -> Iterator[bytes]:
    """Those that are not empty; to Hadoop a carriage return alone ends a line, too."""
    lines = _LINES.findall(line) if b"\r" in line else [line]
    return (one for one in lines if one.strip(_JSON_SPACE))


def _with_fields(line: bytes, fields: dict[str, Any]) -> bytes:
    """A line with fields put at the end of its object, which is otherwise left as it is written.

    A line that is no object has no fields to Spark either and stays as it is. Raises UserError if the object
    has one of the fields already.
    """
    text = line.rstrip(_JSON_SPACE)
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
