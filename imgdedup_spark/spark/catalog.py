"""Tables of catalogs and table formats: what provides them, and one version of them for all readings of a run."""

from __future__ import annotations

import logging
import re
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote

log = logging.getLogger("imgdedup")
#: ``--input-format`` and ``--output-format`` of a catalog's table by name.
TABLE = "table"


@dataclass(frozen=True)
class TableFormat:
    """What is one format's own.

    Attributes:
        version: the reader's option for one.
        place: columns, beside the table's own, that say in which part of it a row stands, and where there.
        numbered: whether parts have numbers, which are the upper half of where a row stands, and not names.
        mode: of the writer that makes a table in a folder.
        stores: schemes that its library opens, by itself and with keys of its own; None where Spark opens them.
    """

    version: str = "versionAsOf"
    place: tuple[str, str] | None = None
    numbered: bool = False
    mode: str = "append"
    stores: frozenset[str] | None = None

    def placed(self) -> tuple[Column, Column, Column]:
        """The name of the part in which a row stands, the same as text that sorts, and the row's number in it."""
        assert self.place is not None
        part, row = map(F.col, self.place)
        if self.numbered:
            name = part.cast("string")
            return name, F.lpad(name, 10, "0"), row.bitwiseAND(F.lit((1 << 32) - 1))
        # What lies elsewhere than in the table's own folder has all of its path.
        return F.regexp_replace(part, "^.*/data/", ""), part, row


#: Table formats whose versions can be read again, and whose tables are replaced in one step.
VERSIONED = {
    "delta": TableFormat(),
    "iceberg": TableFormat(place=("_file", "_pos")),
    # Its writer appends to what is there alone.
    "lance": TableFormat(
        "version",
        ("_fragid", "_rowaddr"),
        numbered=True,
        mode="error",
        stores=frozenset({"s3", "gs", "az", "abfss", "oss"}),
    ),
}


def provider_of(spark: SparkSession, name: str) -> str:
    """What a table is made of: ``delta``, ``iceberg``, ``parquet``, …; empty for a view."""
    rows = spark.sql(f"DESCRIBE TABLE EXTENDED {name}").where("col_name = 'Provider'").collect()
    return str(rows[0]["data_type"]).lower() if rows else ""


def open_pinned(spark: SparkSession, path: str, name: str) -> tuple[DataFrame, str]:
    """A table in the version that it has now, whatever is committed to it while the frame is in use.

    A frame of a Delta table looks for the newest version whenever it is read.

    Args:
        path: of a table, or its name if ``name`` is ``table``.
        name: of the data source.

    Returns:
        The rows, and what they are read by: a table's provider, or ``name``. Other data sources than ``VERSIONED`` have
        no versions that Spark could be asked for.

    Raises:
        Exception: each version of Spark raises another kind where there is no such source or table.
    """
    if name == TABLE:
        frame = spark.table(path)
        frame.schema  # noqa: B018 - is it a name, and of something that is there?
        kind = provider_of(spark, path) or ("lance" if _lance_table(frame) is not None else "")
        version = _version(frame, kind, path, f"{path}.refs")
        if version is not None:
            frame = spark.sql(f"SELECT * FROM {path} VERSION AS OF {version}")
    else:
        kind = name.lower()
        reader = spark.read.format(name)
        frame = reader.load(path)
        version = _version(frame, kind, f"delta.`{path.replace('`', '``')}`", None, path)
        if version is not None:
            frame = reader.option(VERSIONED[kind].version, version).load(path)
    if version is not None:
        log.info("%s is read at version %s", path, version)
    return frame, kind


def _version(frame: DataFrame, kind: str, table: str, refs: str | None, path: str = "") -> int | None:
    """The newest; None where there are none, as of an Iceberg table that was never written to."""
    spark = frame.sparkSession
    if kind == "delta":
        return int(spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").collect()[0]["version"])
    if kind == "iceberg":
        found = spark.table(refs) if refs else spark.read.format("iceberg").load(f"{path}#refs")
        main = found.where("name = 'main'").select("snapshot_id").collect()
        return int(main[0][0]) if main else None
    lance = _lance_table(frame) if kind == "lance" else None
    if lance is not None:
        options = lance.readOptions()
        dataset = spark._jvm.org.lance.Dataset.open().uri(options.getDatasetUri()).readOptions(options.toReadOptions())
        with closing(dataset.build()) as opened:
            return int(opened.version())
    return None


def _lance_table(frame: DataFrame) -> Any | None:
    """Java's object of a table that Lance's connector reads; None for others, and through Spark Connect."""
    if is_remote():
        return None
    leaf = frame._jdf.queryExecution().analyzed().collectLeaves().apply(0)
    if leaf.getClass().getSimpleName() != "DataSourceV2Relation":
        return None
    return leaf.table() if leaf.table().getClass().getName().startswith("org.lance.spark.") else None


def parts_of(spark: SparkSession, name: str) -> tuple[str, ...]:
    """Catalog, schema and table of a name that may leave out the first ones."""
    parts = [one.strip("`").replace("``", "`").lower() for one in re.findall(r"`(?:[^`]|``)*`|[^.`]+", name)]
    if len(parts) == 1:
        parts.insert(0, spark.catalog.currentDatabase().lower())
    if len(parts) == 2:
        parts.insert(0, spark.catalog.currentCatalog().lower())
    return tuple(parts)


def make_iceberg(rows: DataFrame, folder: str) -> None:
    """Makes an Iceberg table without rows in a folder: Spark's own writer makes tables in catalogs alone."""
    spark = rows.sparkSession
    iceberg = spark._jvm.org.apache.iceberg
    schema = iceberg.spark.SparkSchemaUtil.convert(rows._jdf.schema())
    iceberg.hadoop.HadoopTables(spark._jsc.hadoopConfiguration()).create(schema, folder)
