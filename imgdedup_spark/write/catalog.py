"""``kept/`` as a table: of Delta's, Iceberg's or Lance's in the folder, or a catalog's by name, in one commit."""

from __future__ import annotations

import json

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.utils import is_remote

from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.read.by_workers import workers_reach
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.catalog import TABLE, VERSIONED, make_iceberg, parts_of, provider_of
from imgdedup_spark.spark.settings import settings
from imgdedup_spark.write.output import Output
from imgdedup_spark.write.parts import TABLE_NOTE

#: A property of tables that runs have written: the output folder of the run.
_OF = "imgdedup.output"


def kept_kind(source: Source, output_format: str | None) -> str:
    """What ``kept/`` is written as."""
    return output_format or (source.format if source.format in VERSIONED else source.native)


def check_table(spark: SparkSession, source: Source, config: JobConfig, folder: str) -> None:
    """Before any work: can ``kept/`` be written there as what is asked for?

    Args:
        folder: the output's.

    Raises:
        UserError: no.
    """
    kind = kept_kind(source, config.output_format)
    if kind == "iceberg" and is_remote():
        raise UserError(
            "--output-format iceberg: Spark Connect makes no Iceberg table in a folder; say table, or parquet"
        )
    stores = VERSIONED[kind].stores if kind in VERSIONED else None
    if stores is not None and not storage.is_local(folder) and folder.partition(":")[0] not in stores:
        raise UserError(f"--output {folder}: {kind}'s library does not know this store; say --output-format parquet")
    if kind == "webdataset" and not workers_reach(folder):
        raise UserError(f"--output {folder}: the workers write tar shards, and cannot open this store")
    if kind in VERSIONED and source.format != kind:
        _check_data_source(spark, kind)
    if kind != TABLE:
        return
    name = str(config.output_table)
    where = f"--output-table {name}"
    try:
        there = spark.catalog.tableExists(name)
        schema = name.rpartition(".")[0]
        if schema and not there and "`" not in name and not spark.catalog.databaseExists(schema):
            raise UserError(f"{where}: there is no {schema}; make it first")
        if not there:
            return
        if source.format == TABLE and parts_of(spark, name) in [parts_of(spark, one) for one in source.inputs]:
            raise UserError(f"{where}: it is the input; name another table")
        owner = _owner(spark, name)
    except UserError:
        raise
    except Exception as error:  # of many kinds: a name that is none, a catalog that is not there
        raise UserError(f"{where}: {first_line(error)}") from None
    if owner is None:
        raise UserError(_not_ours(name))
    if owner != folder and not config.overwrite:
        raise UserError(f"{where}: it is there, of the run in {owner}; name another table or add --overwrite")


def check_movable(kind: str, output: Output) -> None:
    """Raises:
    UserError: a whole output is to be replaced, at the end, by moving what cannot be moved.
    """
    if kind == "iceberg" and output.beside:
        raise UserError(
            f"--output {output.folder}: an Iceberg table in a folder cannot take the place of another; choose another "
            "folder, or --output-format table"
        )


def _check_data_source(spark: SparkSession, kind: str) -> None:
    try:
        spark.read.format(kind).load("/imgdedup/nothing/here").schema  # noqa: B018
    except Exception as error:
        if "DATA_SOURCE_NOT_FOUND" in str(error) or "ClassNotFoundException" in str(error):
            raise UserError(f"--output-format {kind}: {first_line(error)}") from None


def _owner(spark: SparkSession, name: str) -> str | None:
    found = spark.sql(f"SHOW TBLPROPERTIES {name}").where(f"key = '{_OF}'").collect()
    return str(found[0]["value"]) if found else None


def _not_ours(name: str) -> str:
    return f"--output-table {name}: it is there, and no run has written it; name another table"


def write_folder(rows: DataFrame, output: Output, kind: str) -> int:
    """Writes a table of one of ``VERSIONED``, and returns how many rows that has."""
    folder = output.part("kept")
    storage.delete(folder)
    if kind == "iceberg":
        make_iceberg(rows, folder)
    rows.write.format(kind).mode(VERSIONED[kind].mode).save(folder)
    return rows.sparkSession.read.format(kind).load(folder).count()


def write_table(rows: DataFrame, output: Output, name: str) -> int:
    """Writes a catalog's table, in the place of what a run has written there, and returns how many rows it has.

    Raises:
        UserError: the catalog takes no such name, or no such columns; or somebody else has made the table.
    """
    spark = rows.sparkSession
    writer = rows.writeTo(name).tableProperty(_OF, output.folder)
    there = spark.catalog.tableExists(name)
    if there and _owner(spark, name) is None:
        raise UserError(_not_ours(name))
    provider = provider_of(spark, name) if there else ""
    try:
        if provider in VERSIONED:
            writer.using(provider).createOrReplace()
        else:
            spark.sql(f"DROP TABLE IF EXISTS {name}")
            # Spark 3.5's own catalog would make it one of Hive's, as Spark 4's does not.
            with settings(spark, {"spark.sql.legacy.createHiveTableByDefault": "false"}):
                writer.create()
    except AnalysisException as error:
        raise UserError(f"--output-table {name}: {first_line(error)}") from None
    storage.write_text(output.part("kept", TABLE_NOTE), json.dumps({"table": name}) + "\n")
    return spark.table(name).count()
