"""JSON lines files: which lines are rows, and how rows are copied byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import CopyMismatch, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.pieces import Piece
from imgdedup_spark.files.storage import size_of

# Bytes of JSON lines read at once.
_BLOCK_BYTES = 8 << 20


# What Hadoop decompresses by file ending, and pyarrow's names for it. None: formats that only Hadoop reads.
_CODECS = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
    ".lz4": "lz4",
    ".deflate": None,
    ".snappy": None,
    ".lzo": None,
}


_JSON_SPACE = b" \t\r\n"


# JSON lines --------------------------------------------------------------------------
def copy_json_lines(
    pieces: Sequence[Piece], kept: Sequence[np.ndarray], out_uri: str, extra: Sequence[pa.Table] | None
) -> int:
    output: pa.NativeFile | None = None
    with ExitStack() as stack:
        for index, piece in enumerate(pieces):
            more = None if extra is None else extra[index].to_pylist()
            for text in _kept_lines(piece, kept[index], more):
                if output is None:
                    output = stack.enter_context(storage.open_output(out_uri))
                output.write(text)
    return 0 if output is None else size_of(out_uri)


def _kept_lines(piece: Piece, kept: np.ndarray, extra: list[dict[str, Any]] | None) -> Iterator[bytes]:
    """The kept lines, many at a time. Raises CopyMismatch where rows and lines do not match."""
    row = 0
    for block, starts, ends in _line_blocks(piece):
        is_row = _are_rows(piece, block, starts, ends)
        rows = int(is_row.sum())
        if row + rows > piece.rows:
            raise CopyMismatch(f"{piece.uri}: more than the {piece.rows} rows from byte {piece.start}")
        take = is_row.copy()
        take[is_row] = kept[row : row + rows]
        view = memoryview(block)
        if extra is None:
            # Neighbours go as one stretch of bytes: where `take` turns true and where it turns false again.
            turns = np.flatnonzero(np.diff(np.concatenate([[0], take.view(np.int8), [0]])))
            lines: list[bytes | memoryview] = [
                view[starts[a] : ends[b - 1]] for a, b in zip(turns[::2], turns[1::2], strict=True)
            ]
        else:
            numbers = row + np.cumsum(is_row) - 1
            lines = [_with_fields(bytes(view[starts[i] : ends[i]]), extra[numbers[i]]) for i in np.flatnonzero(take)]
        if lines:
            yield b"".join(lines)
        row += rows
    if row != piece.rows:
        raise CopyMismatch(f"{piece.uri}: {row} rows from byte {piece.start} where Spark read {piece.rows}")


def _are_rows(piece: Piece, block: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(lines,) bool, false for lines of white space. Raises CopyMismatch where a line can be several rows."""
    if block.count(b"\r", 0, ends[-1]) != block.count(b"\r\n", 0, ends[-1]):
        raise CopyMismatch(f"{piece.uri}: carriage returns inside of lines, which Hadoop takes for line ends")
    first = np.frombuffer(block, np.uint8)[starts]
    is_row = np.ones(len(starts), bool)
    arrays = bool((first == ord("[")).any())
    for line in np.flatnonzero(np.isin(first, np.frombuffer(_JSON_SPACE, np.uint8))):
        text = block[starts[line] : ends[line]].lstrip(_JSON_SPACE)
        is_row[line] = bool(text)
        arrays |= text.startswith(b"[")
    if arrays:
        raise CopyMismatch(f"{piece.uri}: a line holds a JSON array, whose elements are rows to Spark")
    return is_row


def _line_blocks(piece: Piece) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
    """The piece's lines: blocks of bytes with the starts and ends (past the line feed) of lines in them."""
    uri = storage.from_spark(piece.uri)
    opened, path = storage.open_fs(uri)
    ending = PurePosixPath(path).suffix
    limit: float = piece.start + piece.length
    if ending not in _CODECS:
        with opened.open_input_file(path) as stream:
            stream.seek(piece.start)
            yield from _lines(piece, stream, limit)
        return
    codec = _CODECS[ending]
    if codec is None or piece.start > 0 or limit < size_of(uri):
        raise CopyMismatch(f"{piece.uri}: compressed in a way that only Hadoop reads")
    try:
        with opened.open_input_stream(path, compression=codec) as stream:
            yield from _lines(piece, stream, float("inf"))
    except OSError as error:  # Hadoop's .lz4, for one, is not everybody else's
        raise CopyMismatch(f"{piece.uri}: does not decompress: {error}") from error


def _lines(piece: Piece, stream: pa.NativeFile, limit: float) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
    """As ``_line_blocks``, from a stream at the piece's start; the last line begins by byte ``limit``."""
    position = piece.start  # in the file, of the block's first byte
    skipping = piece.start > 0  # the line under way, or one that begins here, is the previous piece's
    rest, wanted, at_end = b"", _BLOCK_BYTES, False
    while not at_end and position <= limit:
        data = stream.read(wanted)
        at_end = not data
        block = rest + data if rest else data
        if skipping:
            skipping = b"\n" not in block
            # A carriage return at the block's end may have its line feed in the next.
            cut = len(block) - block.endswith(b"\r") if skipping else block.index(b"\n") + 1
            if b"\r" in block[:cut].removesuffix(b"\r\n"):
                raise CopyMismatch(f"{piece.uri}: carriage returns inside of lines")
            position, block = position + cut, block[cut:]
            if skipping:
                rest = block
                continue
        if not block:
            rest = block
            continue
        if at_end and not block.endswith(b"\n"):
            block += b"\n"
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        if not len(ends):
            # A line longer than the block: reading more each time keeps the joining linear.
            rest, wanted = block, max(_BLOCK_BYTES, 2 * len(block))
            continue
        starts = np.concatenate([[0], ends[:-1]])
        owned = int(np.searchsorted(starts, limit - position, side="right"))
        if position == 0 and block.startswith(b"\xef\xbb\xbf"):
            starts[0] = 3  # a byte order mark belongs to a file, not to its first line
        if owned:
            yield block, starts[:owned], ends[:owned]
        if owned < len(starts):
            return
        rest, wanted = block[ends[-1] :], _BLOCK_BYTES
        position += int(ends[-1])


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
