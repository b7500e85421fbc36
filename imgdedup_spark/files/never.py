"""Pairs of ids that are never matched with each other, as people write them down and as the report downloads them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.json as pjson
import pyarrow.parquet as pq

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.listing import ending_of

_FORM = "it holds pairs of ids, in columns `a` and `b`, as CSV, JSON lines or Parquet"
_READERS = {
    # Ids are text: `007` is not 7, and empty is an id as any other.
    "csv": lambda stream: pcsv.read_csv(
        stream,
        parse_options=pcsv.ParseOptions(newlines_in_values=True),
        convert_options=pcsv.ConvertOptions(
            column_types={"a": pa.string(), "b": pa.string()}, strings_can_be_null=False
        ),
    ),
    "jsonl": pjson.read_json,
    "json": pjson.read_json,
    "ndjson": pjson.read_json,
    "parquet": pq.read_table,
}


def read_never(path: str, option: str = "--never") -> pa.Table:
    """The pairs of a file as a table of the strings ``a`` and ``b``.

    Raises:
        UserError: it is not there, or is no such file.
    """
    where = f"{option} {path}"
    reader = _READERS.get(ending_of(path))
    if reader is None:
        raise UserError(f"{where}: {_FORM}, and its name ends in .csv, .jsonl or .parquet")
    try:
        opened, inner = storage.open_fs(path)
        with opened.open_input_file(inner) as stream:
            if not stream.size():
                return pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.string())})
            table = reader(stream)
    except FileNotFoundError:
        raise UserError(f"{where}: there is no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{where}: {_FORM}; it cannot be read as that: {first_line(error)}") from None
    if not {"a", "b"} <= set(table.column_names):
        raise UserError(f"{where}: {_FORM}; found columns {', '.join(table.column_names)}")
    try:
        pairs = pa.table({name: table.column(name).cast(pa.string()) for name in ("a", "b")})
    except pa.ArrowException:
        kinds = ", ".join(str(table.schema.field(name).type) for name in ("a", "b"))
        raise UserError(f"{where}: ids are strings or numbers; found {kinds}") from None
    if pairs["a"].null_count or pairs["b"].null_count:
        raise UserError(f"{where}: in some pairs an id is missing")
    return pairs


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
