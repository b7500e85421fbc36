"""One schema for shards that differ, and the plain types that every reader of their rows knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.files.parquet_schema import SPARK_SCHEMA

_READERS = 16
_PLAIN = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20),
    pa.float16(): pa.float32(),
}
#: Logical types in Parquet.
_NO_MORE = frozenset({"NONE", "STRING", "INT"})


class Footer(NamedTuple):
    """What the end of a Parquet file tells.

    Attributes:
        schema: Arrow's, with all that writers have noted.
        groups: the (rows, bytes) of its row groups.
        note: what Spark has noted of its own schema, if it wrote the file: Arrow's may hold that of another file.
        is_plain: whether its values are no more than their Parquet types and text say: others (names of a set, JSON,
            places) may be one thing to Arrow and another one to Spark.
    """

    schema: pa.Schema
    groups: tuple[tuple[int, int], ...]
    note: bytes | None
    is_plain: bool


def read_footers(uris: list[str]) -> dict[str, Footer]:
    """The footers of Parquet files, by URI.

    Raises:
        UserError: one of them is no Parquet file.
    """

    def read(uri: str) -> Footer:
        opened, path = storage.open_fs(uri)
        try:
            with opened.open_input_file(path) as stream:
                metadata = pq.read_metadata(stream)
                groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
                sizes = tuple((group.num_rows, group.total_byte_size) for group in groups)
                note = (metadata.metadata or {}).get(SPARK_SCHEMA)
                plain = all(column.logical_type.type in _NO_MORE for column in metadata.schema)
                return Footer(metadata.schema.to_arrow_schema(), sizes, note, plain)
        except BROKEN as error:
            raise UserError(f"--input {uri}: is not a Parquet file: {first_line(error)}") from None

    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(uris, pool.map(read, uris), strict=True))


def unite(schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """The schema that holds the rows of all files: columns by name whatever their case, as first spelled, in the order
    of their first appearance; types widened where no value is lost.

    Args:
        schemas: by URI.

    Raises:
        UserError: two files have a column of types that do not go together.
    """
    fields: dict[str, pa.Field] = {}
    homes: dict[str, str] = {}
    metadata = next(iter(schemas.values())).metadata
    for uri, schema in schemas.items():
        spelled = Counter(name.lower() for name in schema.names)
        for field in schema:
            # Twins in one file that differ by case alone are columns of their own.
            name = field.name if spelled[field.name.lower()] > 1 else field.name.lower()
            known = fields.get(name)
            if known is None:
                fields[name], homes[name] = field, uri
            elif not known.type.equals(field.type):
                fields[name] = known.with_type(_wider(known.name, (homes[name], known.type), (uri, field.type)))
    return pa.schema(list(fields.values()), metadata)


def check_names(schemas: Mapping[str, pa.Schema]) -> None:
    """Raises:
    UserError: a file has columns whose names differ by case alone, as Spark reads them unless it is told otherwise.
    """
    for uri, schema in schemas.items():
        known: dict[str, str] = {}
        for name in schema.names:
            other = known.setdefault(name.lower(), name)
            if other is not name:
                raise UserError(
                    f"--input {uri}: has the columns `{other}` and `{name}`, which are one name to Spark: rename one, "
                    "or set spark.sql.caseSensitive=true"
                )


def _wider(name: str, one: tuple[str, pa.DataType], other: tuple[str, pa.DataType]) -> pa.DataType:
    (first, a), (second, b) = one, other
    try:
        both = [pa.schema([pa.field(name, _decoded(kind))]) for kind in (a, b)]
        wide = pa.unify_schemas(both, promote_options="permissive").field(0).type
    except pa.ArrowException:
        wide = None
    # pyarrow knows no type for whole numbers with and without a sign of 64 bits.
    if {a, b} == {pa.uint64(), pa.int64()}:
        wide = pa.decimal128(20)
    if wide is not None and _holds(wide, a) and _holds(wide, b):
        return wide
    raise UserError(f"--input: column {name} is {a} in {first} and {b} in {second}, which do not go together") from None


def _holds(wide: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a type that pyarrow widens another to holds all of its values as what they are: whole numbers of many
    digits are not what a float holds, nor text what bytes are."""
    types = pa.types
    if types.is_struct(wide) and types.is_struct(kind):
        return all(_holds(wide.field(field.name).type, field.type) for field in kind)
    if types.is_map(wide) and types.is_map(kind):
        return _holds(wide.key_type, kind.key_type) and _holds(wide.item_type, kind.item_type)
    if hasattr(wide, "value_type") and hasattr(kind, "value_type"):
        return _holds(wide.value_type, kind.value_type)
    if types.is_floating(wide):
        exact = {16: 8, 32: 16, 64: 32}[wide.bit_width]
        return not types.is_decimal(kind) and (not types.is_integer(kind) or kind.bit_width <= exact)
    if kind == pa.uint64() and types.is_signed_integer(wide):
        return False
    text = (pa.string(), pa.large_string(), pa.string_view())
    return (wide in text) == (_decoded(kind) in text) or types.is_null(kind)


def _decoded(kind: pa.DataType) -> pa.DataType:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}.get(kind, kind)


def conform(table: pa.Table, schema: pa.Schema, values: Mapping[str, str | None]) -> pa.Table:
    """The table with the columns of a united schema: widened, and null where it has none.

    Args:
        values: what the file's folders say, of columns that no file has.
    """
    lower = {name.lower(): name for name in table.column_names}
    columns = []
    for field in schema:
        name = field.name if field.name in table.column_names else lower.get(field.name.lower())
        if name is None:
            column = pa.repeat(pa.scalar(values.get(field.name), field.type), table.num_rows)
        else:
            column = table[name]
        columns.append(column if column.type.equals(field.type) else column.cast(field.type))
    return pa.table(columns, schema=schema)


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The type as which every Spark reads such values; None for types that it has nothing for."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return pa.string()
    if (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or kind == pa.binary_view()
    ):
        return pa.binary()
    if types.is_struct(kind):
        inner = [(field.name, plain_type(field.type)) for field in kind]
        return None if any(one is None for _, one in inner) else pa.struct(inner)
    if types.is_map(kind):
        key, value = plain_type(kind.key_type), plain_type(kind.item_type)
        return None if key is None or value is None else pa.map_(key, value)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = plain_type(kind.value_type)
        return None if item is None else pa.list_(item)
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if kind in _PLAIN:
        return _PLAIN[kind]
    known = types.is_signed_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_date32(kind)
    return kind if known or types.is_decimal128(kind) or types.is_null(kind) else None


def plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column as its plain type."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type.equals(kind):
        return column
    # Nanoseconds are cut; the values of kept/ are copied, not these.
    return pc.cast(column, options=pc.CastOptions(kind, allow_time_truncate=True))


def plain_batches(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, values: Mapping[str, str | None]
) -> Iterator[pa.RecordBatch]:
    """Batches of a file as those of a united schema of plain types; ``values`` as for ``conform``."""
    for batch in batches:
        lower = {name.lower(): name for name in batch.schema.names}
        columns = []
        for field in schema:
            name = field.name if field.name in batch.schema.names else lower.get(field.name.lower())
            if name is None:
                columns.append(pa.repeat(pa.scalar(values.get(field.name), field.type), len(batch)))
            else:
                columns.append(plain(batch.column(name), field.type))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
