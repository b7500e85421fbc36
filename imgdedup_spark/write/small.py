"""The result's tables and counts of a run that was decided in the driver; ``tables`` and ``summary`` make the same from
DataFrames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.hash.small import has_errors
from imgdedup_spark.keep.at_once import AtOnce
from imgdedup_spark.kernels.arrow import binary_to_lists
from imgdedup_spark.read.source import ORDER

_KEPT = "kept_order"


def duplicates(found: AtOnce) -> pa.Table | None:
    """As ``tables.duplicates``, of a run without stages; None where ids of references go back to a type that only Spark
    knows to make of strings."""
    ids = found.prints.column("id").combine_chunks()
    orders = found.prints.column(ORDER)
    at = {name: pc.index_in(found.dropped.column(name), value_set=orders) for name in (ORDER, _KEPT)}
    kept = ids.take(at[_KEPT])
    if found.known is not None:
        kept = _with_known(kept, found.dropped.column("reference"), found.known)
        if kept is None:
            return None
    named = pa.table({"id": ids.take(at[ORDER]), "kept_id": kept})
    for name in ("distance", "similarity", "reason", "view", "kept_view"):
        if name in found.dropped.column_names:
            named = named.append_column(name, found.dropped.column(name))
    return named


def _with_known(kept: pa.Array, reference: pa.ChunkedArray, known: pa.Table) -> pa.Array | None:
    """Ids of the rows kept, filled with those of references: these are strings, and get the ids' type back where all of
    them can; else all are strings."""
    at = pc.index_in(reference.combine_chunks(), value_set=known.column("rank").combine_chunks())
    names = known.column("id").combine_chunks().take(at)
    if pa.types.is_string(kept.type):
        return pc.coalesce(kept, names)
    if not pa.types.is_integer(kept.type):
        return None
    try:
        numbers = names.cast(kept.type)
    except pa.ArrowInvalid:
        return pc.coalesce(kept.cast(pa.string()), names)
    if not numbers.cast(pa.string()).equals(names):  # 007 is no number
        return pc.coalesce(kept.cast(pa.string()), names)
    return pc.coalesce(kept, numbers)


def errors(found: AtOnce) -> pa.Table:
    """As ``tables.errors``."""
    column = found.prints.column("errors").combine_chunks()
    entries, rows = pc.list_flatten(column), pc.list_parent_indices(column)
    parts = {name: entries.field(name) for name in ("position", "error", "message", "level")}
    return pa.table({"id": found.prints.column("id").take(rows), **parts})


def hashes(found: AtOnce) -> pa.Table:
    """As ``tables.hashes``."""
    prints = found.prints
    some = pc.if_else(pc.greater(prints.column("images"), 0), prints.column("imagehash"), None)
    columns = ("texthash", "width", "height", "bytes", "quality")
    vectors = {}
    if "vector" in prints.column_names:
        vectors["embedding"] = binary_to_lists(prints.column("vector").combine_chunks())
    return pa.table(
        {"id": prints.column("id"), "imagehash": some, **{name: prints.column(name) for name in columns}, **vectors}
    )


def gone(found: AtOnce, on_error: str | None) -> np.ndarray:
    """``order`` of every row that does not stay, ascending."""
    orders = found.dropped.column(ORDER).to_numpy()
    if on_error == "drop":
        failed = found.prints.column(ORDER).to_numpy()[has_errors(found.prints)]
        orders = np.concatenate([orders, failed])
    return np.sort(orders)


def groups(found: AtOnce) -> dict[str, int]:
    """As summary.json has them."""
    sizes = found.dropped.group_by(_KEPT).aggregate([(ORDER, "count")]).filter(pc.field(_KEPT).is_valid())
    largest = pc.max(sizes.column(f"{ORDER}_count")).as_py()
    return {"groups": len(sizes), "largest_group": (largest or 0) + 1 if len(sizes) else 0}


def pairs(found: AtOnce, count: int) -> pa.Table:
    """The pairs of ``tables.pairs``: ``kept_order``, ``order``, ``distance``, ``reason``, ``group_size``."""
    named = found.dropped.filter(pc.is_valid(found.dropped.column(_KEPT)))
    sizes = named.group_by(_KEPT).aggregate([(ORDER, "count"), (ORDER, "min")])
    sizes = sizes.sort_by([(f"{ORDER}_count", "descending"), (_KEPT, "ascending")]).slice(0, count)
    orders = sizes.column(f"{ORDER}_min").combine_chunks()
    rows = named.take(pc.index_in(orders, value_set=named.column(ORDER)))
    size = pc.add(sizes.column(f"{ORDER}_count"), 1)
    return rows.select([_KEPT, ORDER, "distance", "reason"]).append_column("group_size", size)


def named(found: AtOnce, orders: pa.Array) -> pa.Table:
    """``id`` and ``hash`` of these rows."""
    at = pc.index_in(orders, value_set=found.prints.column(ORDER))
    every = hashes(found).select(["id", "imagehash"]).rename_columns(["id", "hash"])
    return every.take(at)


def counts(found: AtOnce, column: str) -> dict[Any, int]:
    """How many rows were dropped for each value of a column of ``dropped``."""
    return _counted(found.dropped.column(column))


def distances(found: AtOnce) -> dict[str, int]:
    """As summary.json has them."""
    distance = found.dropped.column("distance")
    rounded = pc.round(distance, 2, round_mode="half_towards_infinity")
    shown = pc.if_else(pc.is_valid(found.dropped.column("similarity")), rounded, distance)
    return {f"{value:g}": count for value, count in sorted(_counted(shown).items())}


def _counted(column: pa.ChunkedArray) -> dict[Any, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}
