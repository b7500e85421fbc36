"""Prints in one piece: of a run that is small enough they are read into the driver, and decided on without Spark.

A print is some hundred bytes. Up to ``MOST_ROWS`` of them one process decides faster than a cluster is told what to do;
beyond that they stay where they are, and Spark's shuffle takes over. The answer is the same on both sides.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.errors import MOMENTARY, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.hash.problems import ERROR
from imgdedup_spark.read.source import PLACE

#: Rows, and bytes of their prints as they lie in memory, that the driver takes: 2 million pictures with ids of 60
#: bytes are 400 MB of prints, and deciding needs as much again; of embeddings five times as much. A driver of little
#: memory may be told to take fewer.
MOST_ROWS, MOST_BYTES = int(os.environ.get("IMGDEDUP_DRIVER_ROWS", 2_000_000)), 512 << 20
# Of a print with a flat picture.
_FLAT_BYTES = 1300


def read_prints(folder: str) -> pa.Table | None:
    """All prints in a folder of Parquet files; None if they are many, or if the driver cannot open them itself."""
    try:
        storage.check_workers(folder)
        opened, _ = storage.open_fs(folder)
        files = sorted(uri for uri in storage.list_files(folder) if uri.endswith(".parquet"))
        paths = [storage.open_fs(uri)[1] for uri in files]
        footers = [pq.read_metadata(path, filesystem=opened) for path in paths]
    except (UserError, OSError):
        return None
    sizes = [one.row_group(group).total_byte_size for one in footers for group in range(one.num_row_groups)]
    if not footers or sum(one.num_rows for one in footers) > MOST_ROWS or sum(sizes) > MOST_BYTES:
        return None
    tables, held = [], 0
    for path in paths:
        tables.append(pq.read_table(path, filesystem=opened, partitioning=None))
        held += tables[-1].nbytes
        if held > MOST_BYTES:  # what repeats is smaller in a file
            return None
    return pa.concat_tables(tables)


def fits(prints: DataFrame, rows: int) -> bool:
    """Whether the driver takes a frame of so many prints. Embeddings, of one picture a row or of many, are measured,
    and what stands for flat pictures, where it may be too much."""
    if rows > MOST_ROWS:
        return False
    column = "vector" if "vector" in prints.columns else "flat"
    if column == "flat" and rows * _FLAT_BYTES <= MOST_BYTES:
        return True
    size = prints.agg(F.sum(F.length(column).cast("bigint"))).collect()[0][0]
    return (size or 0) <= MOST_BYTES


class Gathered:
    """Tables of prints, group by group, as long as all of them together are few: a large run must not pile up here."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] | None = []

    def add(self, table: pa.Table | None) -> None:
        """Takes the next table; None for prints that the driver does not hold."""
        if self._tables is None or table is None:
            self._tables = None
            return
        tables = [*self._tables, table]
        rows, size = sum(map(len, tables)), sum(one.nbytes for one in tables)
        self._tables = tables if rows <= MOST_ROWS and size <= MOST_BYTES else None

    @property
    def whole(self) -> pa.Table | None:
        """All of them as one; None if there was nothing, or too much."""
        return pa.concat_tables(self._tables) if self._tables else None


def counts_of(prints: pa.Table, by: Sequence[str]) -> list[dict[str, Any]]:
    """What ``Source.count`` has Spark count with ``Prints.aggregates``.

    Args:
        prints: have ``PLACE``.
        by: its parts that rows are counted by.
    """
    place = prints.column(PLACE).combine_chunks()
    failed, unread, momentary = _errors(prints)
    images = prints.column("images").combine_chunks()
    size = sizes_of(prints)
    columns = {name: place.field(name) for name in (*by, "row")} | {
        "images": pc.subtract(images, prints.column("further").combine_chunks()),
        "animated": prints.column("animated").combine_chunks(),
        "failed": pa.array(unread),
        "errors": pa.array((failed > 0).astype(np.int64)),
        "momentary": pa.array(momentary.astype(np.int64)),
        "fewest": size,
        "most": size,
    }
    sums = ("images", "animated", "failed", "errors", "momentary")
    aggregates = [("row", "count"), ("row", "min"), ("fewest", "min"), ("most", "max"), *((one, "sum") for one in sums)]
    found = pa.table(columns).group_by(list(by), use_threads=False).aggregate(aggregates)
    names = {"row_count": "rows", "row_min": "first", "fewest_min": "fewest", "most_max": "most"}
    names |= {f"{one}_sum": one for one in sums}
    return [{names.get(name, name): value for name, value in row.items()} for row in found.to_pylist()]


def sizes_of(prints: pa.Table) -> pa.Array:
    """As ``Prints.sizes``, of rows with images; null for others."""
    images = prints.column("images").combine_chunks()
    if "vector" in prints.column_names:
        numbers = pc.divide(pc.binary_length(prints.column("vector").combine_chunks()), 4)
        sizes = pc.divide(numbers, pc.max_element_wise(images, 1))
    else:
        sizes = pc.utf8_length(prints.column("imagehash").combine_chunks())
    return pc.if_else(pc.greater(images, 0), sizes, None)


def has_errors(prints: pa.Table) -> np.ndarray:
    """(rows,) bool: whether one of a row's pictures is unreadable."""
    return _errors(prints)[0] > 0


def _errors(prints: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many errors each row has, how many of them are pictures' (a line that is no row has none), and whether it has
    some that another run may not meet."""
    errors = prints.column("errors").combine_chunks()
    entries, rows = pc.list_flatten(errors), pc.list_parent_indices(errors).to_numpy()
    is_error = pc.equal(entries.field("level"), ERROR).to_numpy(zero_copy_only=False)
    passing = pc.is_in(entries.field("error"), pa.array(MOMENTARY)).to_numpy(zero_copy_only=False)
    of_pictures = is_error & pc.not_equal(entries.field("error"), "bad_row").to_numpy(zero_copy_only=False)
    failed, unread = (np.bincount(rows[some], minlength=len(prints)) for some in (is_error, of_pictures))
    return failed, unread, np.bincount(rows[passing], minlength=len(prints)) > 0
