"""Prints of ready hashes that the driver makes by itself, where Spark's start would take longer than the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.files.parquet import write_alone
from imgdedup_spark.hash import small
from imgdedup_spark.read.columns import row_terms
from imgdedup_spark.read.source import PLACE, FileState, Source
from imgdedup_spark.spark.settings import setting

# Of a file written here: what one task reads of it later.
_GROUP_ROWS = 1 << 17
#: Spark's settings that name who hears of its jobs and queries. For lineage they are to hear what was read.
LISTENERS = ("spark.extraListeners", "spark.sql.queryExecutionListeners")


def ready_hashes(
    source: Source, files: Sequence[FileState], config: DedupConfig, schema: StructType, is_hash: str
) -> pa.Table | None:
    """Prints of all rows of some files; None where Spark has to make them: of many rows, of texts and terms, and of
    hashes that are not as they should be, for what becomes of those is written down in one place; or somebody listens.

    Args:
        schema: of prints.
        is_hash: a regular expression.
    """
    if config.text_col or row_terms(config) or not 0 < source.known_rows <= small.MOST_ROWS:
        return None
    if any(setting(source.frame.sparkSession, name, "") for name in LISTENERS):
        return None
    assert config.hash_col is not None
    names = list(dict.fromkeys(name for name in (config.hash_col, config.id_col) if name))
    table = source.columns_here(files, names, small.MOST_BYTES)
    if table is None or not pa.types.is_string(table.schema.field(config.hash_col).type):
        return None
    hashes = pc.fill_null(table.column(config.hash_col), "")
    none = pc.equal(hashes, "")
    if not pc.all(pc.or_(none, pc.match_substring_regex(hashes, is_hash))).as_py():
        return None
    made: dict[str, pa.ChunkedArray] = {
        PLACE: table.column(PLACE),
        "imagehash": hashes,
        "images": pc.invert(none).cast(pa.int32()),
        **dict.fromkeys(("animated", "further"), pa.chunked_array([pa.array(np.zeros(len(table), np.int32))])),
    }
    if config.id_col:
        made["id"] = table.column(config.id_col)
    return _filled(made, to_arrow_schema(schema), len(table))


def _filled(columns: Mapping[str, pa.ChunkedArray], schema: pa.Schema, rows: int) -> pa.Table:
    """The columns as a schema has them; others are null, or without entries."""
    nothing = np.zeros(rows + 1, np.int32)
    arrays: list[pa.Array | pa.ChunkedArray] = []
    for field in schema:
        if field.name == PLACE:
            # With the schema's own parts: pyarrow before 20 makes no part of a struct one that is never null.
            parts = columns[PLACE].combine_chunks().flatten()
            arrays.append(pa.StructArray.from_arrays(parts, fields=list(field.type)))
        elif field.name in columns:
            arrays.append(columns[field.name])
        elif pa.types.is_list(field.type):
            entries = pa.array([], field.type.value_type)
            arrays.append(pa.ListArray.from_arrays(pa.array(nothing), entries, field.type))
        else:
            arrays.append(pa.nulls(rows, field.type))
    return pa.table(arrays, schema=schema)


def write_here(table: pa.Table, folder: str) -> int:
    """Writes prints as Spark writes them, and says how many."""
    # Nothing but the files' names repeats that takes room.
    write_alone(table, folder, row_group_size=_GROUP_ROWS, store_schema=False, use_dictionary=[f"{PLACE}.file"])
    return len(table)
