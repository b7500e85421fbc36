"""The result's tables, as the contract names their columns; from what the pipeline found."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DoubleType, LongType, StringType, StructField, StructType

from imgdedup_spark.keep.at_once import AtOnce
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.columns import col, image_column
from imgdedup_spark.read.source import ORDER, ROW
from imgdedup_spark.spark.joins import join_few, keepers
from imgdedup_spark.spark.local import from_driver
from imgdedup_spark.spark.workspace import CUT_ROWS
from imgdedup_spark.write import small

#: What ``emit_hashes`` may add to the rows kept.
EMITTED_TYPES = {"imagehash": pa.string(), "texthash": pa.string(), "max_similarity": pa.float64()}


def duplicates(found: Found) -> DataFrame:
    """``id``, ``kept_id``, ``distance``, ``similarity``, ``reason``; where views were compared also ``view`` and
    ``kept_view``; of a run in stages also ``stage`` and ``via_id``, the row that ``distance`` is to if a later stage
    has dropped that one for ``kept_id``."""
    if found.at_once is not None and not found.config.stages and found.dropped_count <= CUT_ROWS:
        here = small.duplicates(found.at_once)
        if here is not None:
            return from_driver(found.prints.sparkSession, here, _typed(here, found.prints.schema["id"].dataType))
    ids = found.prints.select(ORDER, "id")
    kept = ids.select(F.col(ORDER).alias("kept_order"), F.col("id").alias("kept_id"))
    few = found.groups.join(kept, "kept_order")
    dropped = found.dropped.join(ids, ORDER)
    joined = join_few(dropped, few, "kept_order", found.group_count)
    more = ("view", "kept_view") if found.config.view_names else ()
    columns = ("id", "kept_id", "distance", "similarity", "reason", *more)
    if found.config.stages:
        return _with_via(joined, ids).select(*columns, "stage", "via_id")
    if found.references is None:
        return joined.select(*columns)
    # Names from elsewhere are stored as strings; they get the ids' type back where all of them can.
    known = found.references.named(dropped.where("reference is not null")).select(*columns)
    known = as_ids(known, "kept_id", found.prints.schema["id"].dataType)
    kind = known.schema["kept_id"].dataType
    return joined.select(*columns).withColumn("kept_id", F.col("kept_id").cast(kind)).unionByName(known)


def _typed(duplicates: pa.Table, kind: DataType) -> StructType:
    """Spark's types of ``small.duplicates``, whose kept ids are strings where those of references are no ids here."""
    types = {"id": kind, "distance": DoubleType(), "similarity": DoubleType()}
    if not pa.types.is_string(duplicates.schema.field("kept_id").type):
        types["kept_id"] = kind
    return StructType([StructField(name, types.get(name, StringType())) for name in duplicates.column_names])


def _with_via(dropped: DataFrame, ids: DataFrame) -> DataFrame:
    """Adds ``via_id``; null where ``via_order`` is."""
    direct, moved = dropped.where("via_order is null"), dropped.where("via_order is not null")
    few = keepers(moved, "via_order")
    named = few.join(ids.select(F.col(ORDER).alias("via_order"), F.col("id").alias("via_id")), "via_order")
    moved = join_few(moved.drop("size"), named, "via_order", few.count())
    return direct.unionByName(moved, allowMissingColumns=True)


def errors(found: Found) -> DataFrame:
    """``id``, ``position``, ``error``, ``message``, ``level``: one row for every unreadable image (``error``), and for
    everything that is wrong with one that could be read (``warning``)."""
    each = found.prints.select("id", F.explode("errors").alias("e"))
    return each.select("id", "e.position", "e.error", "e.message", "e.level")


def hashes(found: Found) -> DataFrame:
    """``id``, ``imagehash``, ``texthash``, ``width``, ``height``, ``bytes``, ``quality`` and, for embeddings,
    ``embedding``: one row for every row."""
    columns = ["id", imagehash().alias("imagehash"), "texthash", "width", "height", "bytes", "quality"]
    prints = found.prints
    if found.vectors is not None:
        prints = prints.join(found.vectors, ORDER, "left")
    return found.kind.readable(prints.select(*columns, *[name for name in found.kind.columns if name == "vector"]))


def marks(found: Found, column: str) -> DataFrame:
    """The user's column of ids, and ``column``, which is true where the row stays: one row for every row."""
    gone = found.gone.select(ORDER, F.lit(False).alias("stays"))
    rows = found.prints.select(ORDER, "id").join(gone, ORDER, "left")
    return rows.select(F.col("id").alias(str(found.placed.id_col)), F.coalesce("stays", F.lit(True)).alias(column))


def imagehash() -> Column:
    """Null where there is nothing to compare."""
    return F.when(F.col("images") > 0, F.col("imagehash"))


def pairs(found: Found, count: int) -> DataFrame:
    """One kept and dropped row of each of the ``count`` largest groups, largest first.

    Columns: ``kept`` and ``dropped`` (structs of ``id``, ``hash``, ``text``, ``path``), ``distance``,
    ``reason``, ``group_size``. The dropped row is the group's first in input order.
    """
    if found.at_once is not None and not found.config.stages:
        return _pairs_at_once(found, found.at_once, count)
    largest = found.groups.orderBy(F.desc("size"), "kept_order").limit(count)
    largest = largest.select("kept_order", (F.col("size") + 1).alias("group_size"))
    # Every group has rows that were compared with the very row that is kept.
    direct = found.dropped.where("via_order is null") if found.config.stages else found.dropped
    # A broadcast of so few keeps the other rows of the largest groups where they are.
    first = direct.join(F.broadcast(largest.select("kept_order")), "kept_order")
    first = first.groupBy("kept_order").agg(F.min(ORDER).alias(ORDER))
    chosen = largest.join(first, "kept_order").join(found.dropped.drop("kept_order"), ORDER)
    wanted = chosen.select(ORDER).unionByName(chosen.select(F.col("kept_order").alias(ORDER)))
    shown = _shown_rows(found, wanted)
    kept = shown.select(F.col(ORDER).alias("kept_order"), F.col("row").alias("kept"))
    dropped = shown.select(ORDER, F.col("row").alias("dropped"))
    joined = chosen.join(kept, "kept_order").join(dropped, ORDER)
    columns = ("kept", "dropped", "distance", "reason", "group_size")
    return joined.orderBy(F.desc("group_size"), "kept_order").select(*columns)


def _shown_rows(found: Found, wanted: DataFrame) -> DataFrame:
    """``order`` and a struct of what pairs/ shows of a row: a second, narrow reading of a few rows."""
    rows = found.placed.rows().select(F.col(ROW).alias(ORDER), *_texts(found))
    hashes_too = found.prints.select(ORDER, "id", imagehash().alias("hash"))
    # A broadcast of a few numbers, so that neither reading is shuffled.
    wanted = F.broadcast(wanted.distinct())
    joined = rows.join(wanted, ORDER).join(hashes_too.join(wanted, ORDER), ORDER)
    return joined.select(ORDER, F.struct("id", "hash", "text", "path").alias("row"))


def _pairs_at_once(found: Found, decided: AtOnce, count: int) -> DataFrame:
    """``pairs`` of decisions in the driver. The source is read again for texts and paths alone, as far as there are."""
    spark, chosen = found.prints.sparkSession, small.pairs(decided, count)
    sides = {"kept": chosen.column("kept_order").combine_chunks(), "dropped": chosen.column(ORDER).combine_chunks()}
    texts: dict[int, Any] = {}
    if len(chosen) and any(one is not None for one in (found.config.text_col, _paths(found))):
        wanted = sorted({order for side in sides.values() for order in side.to_pylist()})
        rows = found.placed.rows().where(F.col(ROW).isin(wanted))
        texts = {row[0]: row[1:] for row in rows.select(ROW, *_texts(found)).collect()}
    table = chosen.select(["distance", "reason", "group_size"])
    for name, orders in sides.items():
        parts = small.named(decided, orders).combine_chunks()
        for number, part in enumerate(("text", "path")):
            values = [texts.get(order, (None, None))[number] for order in orders.to_pylist()]
            parts = parts.append_column(part, pa.array(values, pa.string()))
        table = table.append_column(name, parts.to_struct_array())
    side = StructType(
        [found.prints.schema["id"], *(StructField(one, StringType()) for one in ("hash", "text", "path"))]
    )
    schema = StructType(
        [StructField("kept", side), StructField("dropped", side), StructField("distance", DoubleType()),
         StructField("reason", StringType()), StructField("group_size", LongType())]
    )  # fmt: skip
    return from_driver(spark, table.select(schema.names), schema)


def _texts(found: Found) -> list[Column]:
    """``text`` and ``path``, null where there is none."""
    none = F.lit(None).cast("string")
    text, path = col(found.config.text_col).cast("string") if found.config.text_col else None, _paths(found)
    return [(none if text is None else text).alias("text"), (none if path is None else path).alias("path")]


def _paths(found: Found) -> Column | None:
    """The row's own file, if it is one, else the paths that its image column holds; None if it holds none."""
    own = found.source.shown_path()
    if own is not None:
        return own
    name = image_column(found.source.schema, found.config)
    if name is None:
        return None
    kind, column = found.source.schema[name].dataType, col(name)
    if isinstance(kind, ArrayType):
        if isinstance(kind.elementType, StringType):
            return F.concat_ws(", ", F.transform(column, _short))
        if isinstance(kind.elementType, StructType) and "path" in kind.elementType.fieldNames():
            return F.concat_ws(", ", column["path"])
        return None
    if isinstance(kind, StructType) and "path" in kind.fieldNames():
        return column["path"].cast("string")
    return _short(column) if isinstance(kind, StringType) else None


def _short(path: Column) -> Column:
    """A picture written into the column itself is no path: its beginning says what it is."""
    return F.when(F.length(path) <= 1024, path).otherwise(F.concat(F.substring(path, 1, 64), F.lit("…")))


def kept(found: Found) -> DataFrame:
    """Exactly the source's columns, of the rows that stay; with ``emit_hashes`` a few more."""
    more = emitted(found) if found.config.emit_hashes else None
    return found.placed.kept(found.gone, found.dropped_count, more)


def emitted(found: Found) -> DataFrame:
    """``id``, ``order`` and what ``emit_hashes`` adds: one row for every row."""
    rows = found.prints.select("id", ORDER, imagehash().alias("imagehash"), "texthash")
    if found.highest is not None:
        rows = rows.join(found.highest, ORDER, "left")
    elif "max_similarity" in found.kind.emitted:
        rows = rows.withColumn("max_similarity", F.lit(None).cast("double"))
    return rows.select("id", ORDER, *found.kind.emitted)


def as_ids(frame: DataFrame, column: str, kind: DataType) -> DataFrame:
    """Ids from strings back to the type they had, if every one of them can be; else they stay strings."""
    if isinstance(kind, StringType):
        return frame
    typed = F.expr(f"try_cast(`{column}` as {kind.simpleString()})")
    lost = frame.where(F.col(column).isNotNull() & ~typed.cast("string").eqNullSafe(F.col(column)))
    return frame if lost.limit(1).count() else frame.withColumn(column, typed)
