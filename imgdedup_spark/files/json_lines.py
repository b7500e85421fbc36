"""Copies the rows that are kept from shares of JSON lines files, byte for byte and without Spark.

Which lines are in a share, and which lines are rows, follows Hadoop (``LineRecordReader``) and Spark: a line that
begins at the very start of a share is the one's before it, lines of white space are no rows, and a compressed file is
one share. Where Spark may have found other rows than here, ``CopyMismatch`` lets the caller have Spark write them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
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


def copy_json_lines(
    shares: Sequence[Share], dropped: Sequence[np.ndarray], out_uri: str, extra: Sequence[pa.Table] | None = None
) -> int:
    """Writes the rows of ``shares`` that are not dropped to one uncompressed file, in order; returns how many.

    Args:
        dropped: for each share the numbers **in the file** of the rows to leave out, in any order.
        out_uri: plain URI. The file appears there whole or not at all; if no row is kept there is none.
        extra: for each share a table with a row for each row of it, put behind the row's own fields.

    Raises:
        CopyMismatch: the shares do not hold so many rows, or may hold other rows to Spark. Nothing is written.
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
    for row, line in enumerate(_rows(share)):
        if row == share.rows:
            break
        if wanted[row]:
            yield line if extra is None else _with_fields(line, extra[row])
    if row + 1 != share.rows:
        raise CopyMismatch(f"{share.uri}: not the {share.rows} rows from byte {share.start} that Spark read")


def _rows(share: Share) -> Iterator[bytes]:
    """The share's lines that are rows, each with its line feed."""
    for line in _lines(share):
        text = line.lstrip(_JSON_SPACE)
        if text.startswith(b"["):
            raise CopyMismatch(f"{share.uri}: a line holds a JSON array, whose elements are rows to Spark")
        if text:
            yield line if line.endswith(b"\n") else line + b"\n"


def _lines(share: Share) -> Iterator[bytes]:
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
            if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
                raise CopyMismatch(f"{share.uri}: carriage returns inside of lines, which Hadoop takes for line ends")
            if begin == 0:
                yield line.removeprefix(_BYTE_ORDER_MARK)  # which belongs to the file, not to its first line
            elif begin > share.start:
                yield line
            begin += len(line)


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
