"""Copies the rows that are kept from parts of Parquet and JSON lines files, without Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import CopyMismatch
from imgdedup_spark.files.json_lines import copy_json_lines
from imgdedup_spark.files.parquet import copy_parquet
from imgdedup_spark.files.pieces import CopyResult, Piece

__all__ = ["copy_pieces"]


def copy_pieces(
    kind: Literal["parquet", "jsonl"],
    pieces: Sequence[Piece],
    dropped: Mapping[int, np.ndarray],
    out_uri: str,
    extra: Sequence[pa.Table] | None = None,
) -> CopyResult:
    """Writes the rows of ``pieces`` that are not dropped to one file, in order.

    Args:
        kind: of the pieces and of the output; JSON lines are written uncompressed.
        dropped: by index into ``pieces``, the numbers **in the file** of the rows to leave out, in any order.
        out_uri: plain URI. The file appears there whole or not at all; if no row is kept there is none.
        extra: for each piece a table with a row for each row of the piece, put behind the row's own columns;
            of the types in ``_TYPE_NAMES``.

    Raises:
        CopyMismatch: the rows are not those that Spark read, or cannot be copied as they are. Nothing is
            written.
        UserError: the input has a column of the name of one in ``extra``.
    """
    kept = [_kept(piece, dropped.get(index)) for index, piece in enumerate(pieces)]
    if extra is not None and [table.num_rows for table in extra] != [piece.rows for piece in pieces]:
        raise ValueError("extra columns need a row for each row of each piece")
    copy = copy_parquet if kind == "parquet" else copy_json_lines
    written = copy(pieces, kept, out_uri, extra)
    rows_out = tuple(int(mask.sum()) for mask in kept)
    return CopyResult(tuple(piece.rows for piece in pieces), rows_out, written)


def _kept(piece: Piece, dropped: np.ndarray | None) -> np.ndarray:
    """(rows,) bool. Raises CopyMismatch if a number lies outside of the piece."""
    kept = np.ones(piece.rows, bool)
    if dropped is not None and len(dropped):
        numbers = np.asarray(dropped, np.int64) - piece.first_row
        if numbers.min() < 0 or numbers.max() >= piece.rows:
            raise CopyMismatch(f"{piece.uri}: a dropped row is not in the piece from byte {piece.start}")
        kept[numbers] = False
    return kept
