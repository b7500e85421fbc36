"""Numbers of rows in the input, for prints that one process holds: on Arrow arrays, without Spark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.read.order import ROW_BITS, FilePart
from imgdedup_spark.read.source import INPUT, ORDER


def number_rows(prints: pa.Table, place: str, parts: Sequence[FilePart], *, absolute: bool, with_ids: bool) -> pa.Table:
    """The prints with ``order``, ``input`` and, if asked for, ``id`` in the place of the column ``place``.

    Args:
        place: the struct of ``input``, ``file``, ``start`` and ``row``.
        parts: all that hold rows.
        absolute: whether ``row`` is a row's number in its file.
    """
    where = prints.column(place).combine_chunks()
    rows = where.field("row").to_numpy()
    which = _parts_of(where, absolute=absolute)
    # Of each part one row that is in it, to be looked up.
    _, heads, inverse = np.unique(which, return_index=True, return_inverse=True)
    known = {_key(one.input, one.uri, one.start, absolute=absolute): one for one in parts}
    found = [
        known[_key(one["input"], one["file"], one["start"], absolute=absolute)]
        for one in where.take(pa.array(heads)).to_pylist()
    ]
    ordinals, bases = (np.array([getattr(one, name) for one in found], np.int64) for name in ("ordinal", "base"))
    numbers = rows - bases[inverse]
    order = (ordinals[inverse] << ROW_BITS) + numbers
    table = prints.drop_columns([place]).append_column(INPUT, where.field("input"))
    table = table.append_column(ORDER, pa.array(order))
    if with_ids:
        names = pa.array([one.name for one in found], pa.string()).take(pa.array(inverse))
        # A row that has a key in its file has it in its id.
        keys = pa.array(numbers).cast(pa.string())
        if "id" in table.column_names:
            keys = table.column("id").combine_chunks()
            table = table.drop_columns(["id"])
        table = table.append_column("id", pc.binary_join_element_wise(names, keys, "#"))
    return table


def sort_rows(prints: pa.Table, place: str) -> pa.Table:
    """The prints with ``order``, from 0, and ``input`` in the place of the column ``place``: by input, file, row and
    ``id``."""
    where = prints.column(place).combine_chunks()
    keys = {name: where.field(name) for name in ("input", "file", "row")} | {"id": prints.column("id")}
    places = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
    table = prints.drop_columns([place]).append_column(INPUT, where.field("input")).take(places)
    return table.append_column(ORDER, pa.array(np.arange(len(table))))


def _parts_of(where: pa.StructArray, *, absolute: bool) -> np.ndarray:
    """(rows,) a number for each part of a file."""
    files = where.field("file").dictionary_encode()
    number = files.indices.to_numpy().astype(np.int64) * (1 << 20) + where.field("input").to_numpy()
    if absolute:
        return number
    starts = np.unique(where.field("start").to_numpy(), return_inverse=True)[1]
    return number * (int(starts.max(initial=0)) + 1) + starts


def _key(number: int, uri: str, start: int, *, absolute: bool) -> tuple[int, str, int]:
    return (number, uri, 0 if absolute else start)
