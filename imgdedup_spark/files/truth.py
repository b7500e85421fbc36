"""Pairs of ids that are known to be copies, as people write them down."""

from __future__ import annotations

import pyarrow as pa

from imgdedup_spark.files.by_hand import read_by_hand

_FORM = "it holds pairs of ids, in columns `a` and `b`, and maybe a `kind`, as CSV, JSON lines or Parquet"


def read_truth(path: str) -> pa.Table:
    """The pairs of a file: ``a``, ``b`` and ``kind``, strings; the last one is null where it is not said.

    Raises:
        UserError: it is not there, or is no such file.
    """
    table = read_by_hand(path, f"--truth {path}", _FORM, ("a", "b"))
    kind = table.column("kind").cast(pa.string()) if "kind" in table.column_names else pa.nulls(len(table), pa.string())
    return pa.table({"a": table.column("a"), "b": table.column("b"), "kind": kind})
