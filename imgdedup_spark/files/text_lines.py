"""Text files line by line, and copies of the lines that are kept, byte for byte and without Spark.

Which lines are in a share follows Hadoop (``LineRecordReader``): a line that begins at the very start of a share is the
one's before it, and a compressed file is one share.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import CopyMismatch
from imgdedup_spark.files import storage
from imgdedup_spark.files.shares import Share, kept_masks

# Bytes read or written at once.
_BLOCK_BYTES = 1 << 20
# What Hadoop decompresses by file ending, and pyarrow's names for it. None: formats that only Hadoop reads.
_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".deflate": None, ".snappy": None, ".lzo": None}
SPACE = b" \t\r\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINES = re.compile(rb"[^\r\n]*(?:\r?\n|\r|$)")
#: ``change(share, row, line)``: the line to write.
Change = Callable[[int, int, bytes], bytes]


def copy_lines(
    shares: Sequence[Share],
    dropped: Sequence[np.ndarray],
    out_uri: str,
    read: Callable[[Share], Iterator[bytes]],
    change: Change | None = None,
) -> int:
    """Writes the rows of ``shares`` that are not dropped to one uncompressed file, in order; returns how many.

    Args:
        dropped: for each share the numbers **in the file** of the rows to leave out, in any order.
        out_uri: plain URI. The file appears there whole or not at all; if no row is kept there is none.
        read: the rows of a share, each a line.
        change: what is written in the place of a line, by the numbers of its share and of its row in that.

    Raises:
        CopyMismatch: the shares do not hold so many rows. Nothing is written.
        OSError: a file cannot be read or does not decompress: Hadoop's .lz4, for one, is not everybody else's.
    """
    kept = kept_masks(shares, dropped)
    rows = int(sum(mask.sum() for mask in kept))
    if rows:
        with storage.open_output(out_uri) as stream, pa.BufferedOutputStream(stream, _BLOCK_BYTES) as output:
            for index, (share, mask) in enumerate(zip(shares, kept, strict=True)):
                for row, line in _kept_lines(share, mask, read):
                    output.write(line if change is None else change(index, row, line))
    return rows


def _kept_lines(
    share: Share, kept: np.ndarray, read: Callable[[Share], Iterator[bytes]]
) -> Iterator[tuple[int, bytes]]:
    if not kept.any():
        return
    wanted = kept.tolist()
    row = -1
    for row, line in enumerate(read(share)):
        if row == share.rows:
            break
        if wanted[row]:
            yield row, line
    if row + 1 != share.rows:
        raise CopyMismatch(f"{share.uri}: not the {share.rows} rows from byte {share.start} that were read")


def ended(line: bytes) -> bytes:
    """A line with its line end."""
    return line if line.endswith(b"\n") else line + b"\n"


def can_split(uri: str) -> bool:
    """Whether workers can read parts of a file."""
    return PurePosixPath(uri).suffix not in _CODECS


def can_read(uri: str) -> bool:
    """Whether workers can read a file at all. Hadoop's own .lz4 is not everybody else's."""
    return PurePosixPath(uri).suffix not in _CODECS.keys() - {".gz", ".bz2", ".zst"}


def lines_of(share: Share, *, blank: bool = False) -> Iterator[bytes]:
    """The share's lines that are not empty, as they are written; the file's last may have no line end.

    Args:
        blank: those that are empty instead.

    Raises:
        CopyMismatch: the file is compressed, and the share not all of it.
        OSError: it cannot be read, or does not decompress.
    """
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
                yield from _split(line.removeprefix(BYTE_ORDER_MARK) if begin == 0 else line, blank=blank)
            begin += len(line)


def _split(line: bytes, *, blank: bool) -> Iterator[bytes]:
    """Those that are empty, or those that are not; to Hadoop a carriage return alone ends a line, too."""
    lines = _LINES.findall(line) if b"\r" in line else [line]
    return (one for one in lines if one and bool(one.strip(SPACE)) != blank)
