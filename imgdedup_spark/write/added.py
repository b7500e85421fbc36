"""What a run that was decided in the driver adds to the index; ``additions`` makes the same from DataFrames."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.pandas.types import to_arrow_schema

from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.small import sizes_of
from imgdedup_spark.index.packed import packed_block
from imgdedup_spark.index.spec import index_schema
from imgdedup_spark.keep.at_once import AtOnce
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.arrow import BLOCK_HASHES, binary_to_lists
from imgdedup_spark.kernels.hamming.pack import codes_of
from imgdedup_spark.read.source import INPUT, ORDER


def can_add(found: Found) -> bool:
    """Whether Arrow writes the ids as Spark would."""
    if found.at_once is None:
        return False
    kind = found.at_once.prints.schema.field("id").type
    return pa.types.is_string(kind) or pa.types.is_integer(kind)


def added_rows(found: Found, run: str) -> tuple[pa.Table, tuple[int, int]]:
    """The rows that are added, in keep order, as ``index_schema`` has them; and the fewest and the most of their
    prints' sizes, (0, 0) without any."""
    assert found.at_once is not None
    rows = _stay(found.at_once)
    sizes = pc.min_max(sizes_of(rows))
    columns = {name: rows.column(name) for name in rows.column_names}
    columns["id"] = rows.column("id").cast(pa.string())
    if "vector" in columns:
        columns["embedding"] = binary_to_lists(rows.column("vector").combine_chunks())
    columns["source"] = _sources(rows, found.source.inputs)
    columns["run"] = pa.array([run] * len(rows), pa.string())
    columns["position"] = pa.array(np.arange(len(rows)))
    schema = to_arrow_schema(index_schema(found.kind))
    table = pa.table({name: columns[name] for name in schema.names}).cast(schema)
    return table, (sizes["min"].as_py() or 0, sizes["max"].as_py() or 0)


def packed_rows(rows: pa.Table, kind: Prints, run: str) -> pa.Table:
    """``packed.PACKED`` and ``run``, one row a block.

    Args:
        rows: of ``added_rows``.
        kind: one that ``can_pack``.
    """
    assert isinstance(kind, Hashes)
    blocks = []
    whole = rows.filter(pc.is_null(rows.column("flat")))
    images = whole.column("images").to_numpy()
    for count in np.unique(images[images > 0]).tolist():
        some = whole.take(pa.array(np.flatnonzero(images == count)))
        for start in range(0, len(some), BLOCK_HASHES):
            part = some.slice(start, BLOCK_HASHES)
            hashes = [part.column(name).combine_chunks() for name in kind.columns]
            codes = codes_of(hashes, [digits for digits in kind.digits() if digits is not None], count)
            blocks.append(packed_block(count, part.column("position").to_numpy(), codes))
    # Rows with flat pictures, or without any, are in no block.
    nothing = packed_block(0, np.zeros(0, np.int64), np.zeros((0, 0), np.uint8)).slice(0, 0)
    table = pa.Table.from_batches(blocks or [nothing])
    return table.append_column("run", pa.array([run] * len(table), pa.string()))


def _stay(decided: AtOnce) -> pa.Table:
    """The prints of the rows that were compared and stay, in keep order."""
    gone = pc.is_in(decided.rows.column(ORDER), value_set=decided.dropped.column(ORDER).combine_chunks())
    orders = decided.rows.filter(pc.invert(gone)).column(ORDER)
    return decided.prints.take(pc.index_in(orders, value_set=decided.prints.column(ORDER).combine_chunks()))


def _sources(rows: pa.Table, names: tuple[str, ...]) -> pa.Array:
    """The input of each row, as the user wrote it; all of them where rows do not know theirs."""
    if INPUT in rows.column_names and len(names) > 1:
        return pa.array(names, pa.string()).take(rows.column(INPUT).combine_chunks())
    return pa.array([" ".join(names) if names else None] * len(rows), pa.string())
