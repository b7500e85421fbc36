"""Rows of a Parquet file in batches of bounded size, also where its pages are not.

pyarrow unpacks a page whole and copies what it is asked for. Pages are cut by number of rows (pyarrow: 1,024, Spark:
100), so that those of photographs are gigabytes. Columns of such pages are read by ``parquet_values``, all others by
pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.files.parquet_values import Leaf, Value, Values, leaf_of_pages
from imgdedup_spark.files.uris import is_local

__all__ = ["BoundedFile", "fetched_whole", "first_rows"]
#: Bytes of large values in a batch, at most, or of one larger value alone.
_BATCH_BYTES = 8 << 20
# Compressed bytes of a row group that one request fetches from a store, which takes its time to answer each. Of what is
# fetched at once Arrow makes requests of this size.
_FETCHED_BYTES = 32 << 20
_OFFSETS = {pa.binary(): np.int32, pa.string(): np.int32, pa.large_binary(): np.int64, pa.large_string(): np.int64}


class BoundedFile(pq.ParquetFile):
    """A Parquet file whose rows are read in batches of bounded size.

    Args:
        stream: that it is read from.
        whole: whether all that is wanted of a row group is fetched before its first row.
        more: as ``pq.ParquetFile`` has it.
    """

    def __init__(self, stream: pa.NativeFile, *, whole: bool = False, **more: Any) -> None:
        super().__init__(stream, pre_buffer=whole, **more)
        self._stream = stream

    def bounded_batches(
        self, group: int, rows: int, columns: Sequence[str] | None = None, skip: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """What ``iter_batches`` gives of a row group.

        Args:
            rows: of a batch, at most.
            columns: of the top level; None for all.
            skip: rows to pass over first.
        """
        wanted = [field for field in self.schema_arrow if columns is None or field.name in columns]
        large = _large(self, self._stream, group, wanted, any_size=skip > 0)
        # Other tasks have the other cores.
        if not large:
            yield from _after(skip, self.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False))
            return
        values = {path: Values(self._stream, leaf) for path, leaf in large.items()}
        for one in values.values():
            one.skip(skip)
        schema = pa.schema(wanted, self.schema_arrow.metadata)
        paths = [path for path in _paths(self, wanted) if path not in large]
        for light in _after(skip, self._light(group, rows, paths)):
            done = 0
            while done < len(light):
                taken = _take(values, len(light) - done)
                length = len(next(iter(taken.values()))[0])
                part = light.slice(done, length)
                arrays = [_array(field, part, taken) for field in wanted]
                taken.clear()  # a value may be hundreds of megabytes
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                done += length

    def _light(self, group: int, rows: int, paths: list[str]) -> Iterator[pa.RecordBatch]:
        """Batches of the columns that pyarrow reads; of none, if there are none."""
        if paths:
            yield from self.iter_batches(rows, row_groups=[group], columns=paths, use_threads=False)
            return
        count = self.metadata.row_group(group).num_rows
        for first in range(0, count, rows):
            nothing = pa.StructArray.from_buffers(pa.struct([]), min(rows, count - first), [None])
            yield pa.RecordBatch.from_struct_array(nothing)


def fetched_whole(uri: str, size: int) -> bool:
    """Whether so many bytes of a row group are better fetched at once: from stores, not from a disk.

    Args:
        uri: of the file.
        size: compressed, of the columns that are wanted.
    """
    return size <= _FETCHED_BYTES and not is_local(uri)


def first_rows(count: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """So many rows, and no batch beyond them."""
    while count > 0 and (batch := next(batches, None)) is not None:
        yield batch.slice(0, count)
        count -= len(batch)


def _after(skip: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if skip < len(batch):
            yield batch.slice(skip)
        skip = max(0, skip - len(batch))


_Taken = dict[str, tuple[list[Value], np.ndarray]]


def _take(columns: dict[str, Values], rows: int) -> _Taken:
    """Values and levels of the same rows of each column: up to so many, and so that the first is of bounded size."""
    taken: _Taken = {}
    size: int | None = _BATCH_BYTES
    for path, one in columns.items():
        values, levels = one.take(rows, size)
        if not values or (taken and len(values) < rows):
            raise pa.ArrowInvalid(f"column {path} has fewer values than rows")
        taken[path], rows, size = (values, levels), len(values), None
    return taken


def _large(
    file: pq.ParquetFile, stream: pa.NativeFile, group: int, fields: Sequence[pa.Field], *, any_size: bool
) -> dict[str, Leaf]:
    """Columns of bytes, or members of a struct, that are stored in large pages, or in pages of any size: pyarrow would
    read those that are passed over."""
    about, found = file.metadata.row_group(group), {}
    for index in range(about.num_columns):
        path = about.column(index).path_in_schema
        if _type_at(fields, path) in _OFFSETS:
            leaf = leaf_of_pages(stream, about.column(index), file.schema.column(index), any_size=any_size)
            if leaf is not None:
                found[path] = leaf
    return found


def _type_at(fields: Sequence[pa.Field], path: str) -> pa.DataType | None:
    """Of a column, or of a member of a struct."""
    for field in fields:
        if field.name == path:
            return field.type
        name, _, rest = path.partition(".")
        if name == field.name and pa.types.is_struct(field.type) and field.type.get_field_index(rest) >= 0:
            return field.type.field(rest).type
    return None


def _paths(file: pq.ParquetFile, fields: Sequence[pa.Field]) -> list[str]:
    names = [field.name for field in fields]
    paths = [file.schema.column(index).path for index in range(len(file.schema))]
    return [path for path in paths if path in names or path.split(".")[0] in names]


def _array(field: pa.Field, part: pa.RecordBatch, taken: _Taken) -> pa.Array:
    if field.name in taken:
        return _bytes(taken[field.name][0], field.type)
    mine = {path: one for path, one in taken.items() if path.partition(".")[0] == field.name}
    if not mine:
        return part.column(field.name)
    children = []
    for child in field.type:
        path = f"{field.name}.{child.name}"
        children.append(
            _bytes(mine[path][0], child.type) if path in mine else part.column(field.name).field(child.name)
        )
    levels = next(iter(mine.values()))[1]
    mask = pa.array(levels < 1) if field.nullable else None
    return pa.StructArray.from_arrays(children, fields=list(field.type), mask=mask)


def _bytes(values: list[Value], kind: pa.DataType) -> pa.Array:
    """An array whose data is copied once, and that of one value not at all."""
    missing = np.array([value is None for value in values])
    there = [value for value in values if value is not None]
    sizes = np.array([0 if value is None else len(value) for value in values], np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(_OFFSETS[kind])
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    data = pa.py_buffer(there[0] if len(there) == 1 else b"".join(there))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(offsets), data], int(missing.sum()))
