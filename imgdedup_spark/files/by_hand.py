"""Small tables that people write or edit: CSV, JSON lines or Parquet, with ids as text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.json as pjson
import pyarrow.parquet as pq
from pyarrow import fs

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.files.listing import ending_of


def read_by_hand(path: str, where: str, form: str, ids: Collection[str]) -> pa.Table:
    """A file, or a folder of Parquet files.

    Args:
        where: how the user has named it.
        form: what it should be, for the user.
        ids: columns that must be there; they are read as text, and are null nowhere.

    Raises:
        UserError: it is not there, or is another kind of file.
    """
    try:
        opened, inner = storage.open_fs(path)
        info = opened.get_file_info(inner)
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{where}: there is no such file")
        table = _read(opened, info, ids, f"{where}: {form}")
    except BROKEN as error:
        raise UserError(f"{where}: {form}; it cannot be read as that: {first_line(error)}") from None
    if not set(ids) <= set(table.column_names):
        raise UserError(f"{where}: {form}; found columns {', '.join(table.column_names)}")
    for name in ids:
        at = table.column_names.index(name)
        try:
            table = table.set_column(at, name, table.column(name).cast(pa.string()))
        except pa.ArrowException:
            raise UserError(f"{where}: ids are strings or numbers; `{name}` is {table.field(at).type}") from None
        if table.column(name).null_count:
            raise UserError(f"{where}: `{name}` is missing in a row")
    return table


def _read(opened: fs.FileSystem, info: fs.FileInfo, ids: Collection[str], form: str) -> pa.Table:
    if info.type == fs.FileType.Directory:
        return pq.read_table(info.path, filesystem=opened)
    reader = _READERS.get(ending_of(info.path))
    if reader is None:
        raise UserError(f"{form}, and its name ends in .csv, .jsonl or .parquet")
    with opened.open_input_file(info.path) as stream:
        if not info.size:
            return pa.table({name: pa.array([], pa.string()) for name in ids})
        return reader(stream, ids)


def _csv(stream: Any, ids: Collection[str]) -> pa.Table:
    # Ids are text: `007` is not 7, and empty is an id as any other.
    text = pcsv.ConvertOptions(column_types=dict.fromkeys(ids, pa.string()), strings_can_be_null=False)
    return pcsv.read_csv(stream, parse_options=pcsv.ParseOptions(newlines_in_values=True), convert_options=text)


def _json(stream: Any, ids: Collection[str]) -> pa.Table:
    return pjson.read_json(stream)


_READERS: Mapping[str, Callable[[Any, Collection[str]], pa.Table]] = {
    "csv": _csv,
    "jsonl": _json,
    "ndjson": _json,
    "json": _json,
    "parquet": lambda stream, ids: pq.read_table(stream),
}
