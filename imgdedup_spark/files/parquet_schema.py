"""How columns are stored in Parquet, how pyarrow is told to store them so, and how columns are added to a schema."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.errors import CopyMismatch, UserError

#: Under which Spark keeps its own words for a schema.
SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"
_SPARK_VERSION = b"org.apache.spark.version"
_HUGGING_FACE = b"huggingface"
#: How Spark and Hugging Face call the types of columns that are added.
_TYPE_NAMES = {pa.string(): ("string", "string"), pa.float64(): ("double", "float64")}
# Parquet's customary page size. pyarrow looks at it every 1,024 values only, which are 60 MB of pictures.
_PAGE_BYTES = 1 << 20
_VALUES_BETWEEN_LOOKS = 1024
# Mean bytes of values that no dictionary has made smaller. Statistics leave out values as large as that, and a writer
# that makes either copies them several times.
_LARGE_VALUE = 4 << 10


class Leaf(NamedTuple):
    """How a leaf column is stored, but for the names inside of lists, which writers choose differently and readers
    pass over. ``length``: bytes, of types of a fixed length."""

    column: str
    type: str
    logical: dict[str, Any]
    length: int
    definition_level: int
    repetition_level: int


def leaves_of(schema: pq.ParquetSchema) -> list[Leaf]:
    return [_leaf(column) for column in schema]


def _leaf(column: pq.ColumnSchema) -> Leaf:
    logical = json.loads(column.logical_type.to_json())
    for detail in ("is_from_converted_type", "force_set_converted_type"):
        logical.pop(detail, None)
    if logical in ({"Type": "Int", "bitWidth": bits, "isSigned": True} for bits in (32, 64)):
        logical = {"Type": "None"}  # what the physical type says anyway
    length = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    levels = column.max_definition_level, column.max_repetition_level
    return Leaf(column.path.split(".")[0], column.physical_type, logical, length, *levels)


def writer_options(file: pq.ParquetFile, uri: str, extra: Collection[str]) -> dict[str, Any]:
    """Options of ``pq.ParquetWriter`` that store this file's columns as the types they are, compressed as they are.

    Args:
        extra: columns that come beside them.

    Raises:
        CopyMismatch: pyarrow would store a column as another type, or not read all of its values.
    """
    leaves, metadata = leaves_of(file.schema), file.metadata
    int96 = any(leaf.type == "INT96" for leaf in leaves)
    if int96 and _SPARK_VERSION not in (metadata.metadata or {}):
        raise CopyMismatch(f"{uri}: INT96 timestamps, which may be nanoseconds or of any year unless Spark wrote them")
    options: dict[str, Any] = {
        "use_deprecated_int96_timestamps": int96,
        "use_compliant_nested_type": not any(".list.item" in column.path for column in file.schema),
        "write_page_index": True,
    }
    if any(leaf.logical["Type"] == "Decimal" and leaf.type.startswith("INT") for leaf in leaves):
        options["store_decimal_as_integer"] = True  # pyarrow 18 and later
    trial = pa.BufferOutputStream()
    pq.ParquetWriter(trial, file.schema_arrow, **options).close()
    written = pq.read_metadata(pa.BufferReader(trial.getvalue())).schema
    for leaf, copy in zip(leaves, leaves_of(written), strict=True):
        if leaf != copy:
            raise CopyMismatch(f"{uri}: column {leaf.column} ({leaf.type} {leaf.logical}) would become {copy.type}")
    if metadata.num_row_groups:
        group = metadata.row_group(0)
        chunks = [(column.path, group.column(index)) for index, column in enumerate(written)]
        options["compression"] = {path: one.compression.replace("UNCOMPRESSED", "NONE") for path, one in chunks}
        large = {path for path, one in chunks if one.total_uncompressed_size > _LARGE_VALUE * one.num_values}
        small = [*(path for path, _ in chunks if path not in large), *extra]
        options["use_dictionary"] = options["write_statistics"] = small
        values = _PAGE_BYTES * group.num_rows // max(1, group.total_byte_size)
        options["write_batch_size"] = min(max(1, values), _VALUES_BETWEEN_LOOKS)
    return options


def with_extra(schema: pa.Schema, extra: pa.Schema) -> pa.Schema:
    """The schema with columns added, also to Spark's and Hugging Face's copies in its metadata.

    Args:
        extra: strings and doubles.

    Raises:
        UserError: the schema has one of the columns already.
    """
    for one in extra:
        if one.name in schema.names:
            raise UserError(f"the input has a column {one.name} already: leave out --emit-hashes or rename the column")
        schema = schema.append(one)
    metadata = dict(schema.metadata or {})
    if SPARK_SCHEMA in metadata:
        # Spark believes this rather than the file's own schema.
        spark = json.loads(metadata[SPARK_SCHEMA])
        for one in extra:
            kind = _TYPE_NAMES[one.type][0]
            spark["fields"].append({"name": one.name, "type": kind, "nullable": True, "metadata": {}})
        metadata[SPARK_SCHEMA] = json.dumps(spark, separators=(",", ":")).encode()
    if _HUGGING_FACE in metadata:
        told = json.loads(metadata[_HUGGING_FACE])
        features = told.get("info", {}).get("features")
        if isinstance(features, dict):
            features |= {one.name: {"dtype": _TYPE_NAMES[one.type][1], "_type": "Value"} for one in extra}
            metadata[_HUGGING_FACE] = json.dumps(told).encode()
    return schema.with_metadata(metadata or None)
