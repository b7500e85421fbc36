"""Pairs of ids that are never matched with each other, as people write them down and as the report downloads them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.files.by_hand import read_by_hand

_FORM = "it holds pairs of ids, in columns `a` and `b`, as CSV, JSON lines or Parquet"


def read_never(path: str, option: str = "--never") -> pa.Table:
    """The pairs of a file as a table of the strings ``a`` and ``b``.

    Raises:
        UserError: it is not there, or is no such file.
    """
    return read_by_hand(path, f"{option} {path}", _FORM, ("a", "b")).select(["a", "b"])


def order_pairs(
    pairs: pa.Table, ids: pa.Array, orders: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """``(m, 2)`` numbers of rows that are never matched with each other, the smaller one first, ascending and each pair
    once; and the ids of the file that no row has.

    Args:
        pairs: as ``read_never`` returns them.
        ids: (n,) strings, of all rows or of those that are looked for (``named``).
        orders: (n,) the rows' numbers.
    """
    a, b = (pc.fill_null(pc.index_in(pairs[name].combine_chunks(), ids), -1).to_numpy() for name in ("a", "b"))
    both = (a >= 0) & (b >= 0) & (a != b)
    found = np.sort(np.stack([orders[a[both]], orders[b[both]]], axis=1), axis=1)
    return np.unique(found, axis=0), _named(pairs).filter(pc.invert(pc.is_in(_named(pairs), ids))).to_pylist()


def _named(pairs: pa.Table) -> pa.Array:
    """Every id that the pairs name, once."""
    return pa.chunked_array([*pairs["a"].chunks, *pairs["b"].chunks], pa.string()).unique()
