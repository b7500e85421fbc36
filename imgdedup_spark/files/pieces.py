"""Parts of files as Spark reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """One part of one file, as Spark reads it.

    Attributes:
        uri: the file, percent-encoded as in ``_metadata.file_path``.
        start, length: bytes, as in ``_metadata.file_block_start`` and ``file_block_length``.
        first_row: number of the piece's first row in its file, from 0.
        rows: how many rows Spark read in the piece.
    """

    uri: str
    start: int
    length: int
    first_row: int
    rows: int
