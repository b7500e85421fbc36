"""How Parquet columns are stored, and how columns are added to a schema and its copies in the metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.errors import UserError

_SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"


_HUGGING_FACE = b"huggingface"


#: How Spark and Hugging Face call the types of columns that are added.
_TYPE_NAMES = {pa.string(): ("string", "string"), pa.float64(): ("double", "float64")}


@dataclass(frozen=True)
class Leaf:
    """How one leaf column is stored."""

    path: str
    type: str
    logical: dict[str, Any]
    length: int
    levels: tuple[int, int]

    def means(self, other: Leaf) -> bool:
        """Equal but for the names inside of lists, which writers choose differently and readers pass over."""
        mine, theirs = self.path.split(".")[0], other.path.split(".")[0]
        return (mine, self.type, self.logical, self.length, self.levels) == (
            theirs,
            other.type,
            other.logical,
            other.length,
            other.levels,
        )


def leaf_of(column: pq.ColumnSchema) -> Leaf:
    logical = json.loads(column.logical_type.to_json())
    for detail in ("is_from_converted_type", "force_set_converted_type"):
        logical.pop(detail, None)
    if logical in ({"Type": "Int", "bitWidth": bits, "isSigned": True} for bits in (32, 64)):
        logical = {"Type": "None"}  # what the physical type says anyway
    length = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    levels = (column.max_definition_level, column.max_repetition_level)
    return Leaf(column.path, column.physical_type, logical, length, levels)


def known_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns to add; what is null in every row is a string."""
    return [pa.field(one.name, one.type if one.type in _TYPE_NAMES else pa.string()) for one in schema]


def with_extra(schema: pa.Schema, fields: Sequence[pa.Field]) -> pa.Schema:
    """The schema with columns added, also to Spark's and Hugging Face's copies in its metadata."""
    for one in fields:
        if one.name in schema.names:
            raise UserError(f"the input has a column {one.name} already: leave out --emit-hashes or rename the column")
        schema = schema.append(one)
    metadata = dict(schema.metadata or {})
    named = {one.name: _TYPE_NAMES[one.type] for one in fields}
    if named and _SPARK_SCHEMA in metadata:
        # Spark believes this rather than the file's own schema.
        spark = json.loads(metadata[_SPARK_SCHEMA])
        spark["fields"] += [
            {"name": name, "type": kind, "nullable": True, "metadata": {}} for name, (kind, _) in named.items()
        ]
        metadata[_SPARK_SCHEMA] = json.dumps(spark, separators=(",", ":")).encode()
    if named and _HUGGING_FACE in metadata:
        features = json.loads(metadata[_HUGGING_FACE])
        if isinstance(features.get("info", {}).get("features"), dict):
            features["info"]["features"] |= {
                name: {"dtype": kind, "_type": "Value"} for name, (_, kind) in named.items()
            }
            metadata[_HUGGING_FACE] = json.dumps(features).encode()
    return schema.with_metadata(metadata or None)
