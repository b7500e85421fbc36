"""Delta and Iceberg, by path and by name, in and out, while somebody else writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import classic_session
from servers import jars, need

from imgdedup_spark import job
from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.errors import UserError

pytestmark = need("tables")
SCHEMA = "id bigint, image binary"
PROVIDERS = {"delta": "spark_catalog.pictures", "iceberg": "ice.pictures"}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warehouse")


@pytest.fixture(scope="module")
def spark(warehouse: Path) -> Any:
    extensions = (
        "io.delta.sql.DeltaSparkSessionExtension",
        "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    )
    session = classic_session(
        {
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.jars": jars("tables"),
            "spark.sql.warehouse.dir": str(warehouse / "spark"),
            "spark.sql.extensions": ",".join(extensions),
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.sql.catalog.ice": "org.apache.iceberg.spark.SparkCatalog",
            "spark.sql.catalog.ice.type": "hadoop",
            "spark.sql.catalog.ice.warehouse": str(warehouse / "ice"),
        }
    )
    for name in PROVIDERS.values():
        session.sql(f"CREATE SCHEMA IF NOT EXISTS {name}")
    yield session
    session.stop()


def rows(spark: Any, photos: dict[str, bytes], letters: str, first: int = 0) -> Any:
    data = [(first + number, photos[letter]) for number, letter in enumerate(letters)]
    return spark.createDataFrame(data, SCHEMA).coalesce(1)


def make(spark: Any, provider: str, where: str, frame: Any, by_name: bool) -> None:
    if by_name:
        frame.writeTo(where).using(provider).createOrReplace()
    elif provider == "delta":
        frame.write.format(provider).save(where)
    else:
        iceberg = spark._jvm.org.apache.iceberg
        schema = iceberg.spark.SparkSchemaUtil.convert(frame._jdf.schema())
        iceberg.hadoop.HadoopTables(spark._jsc.hadoopConfiguration()).create(schema, where)
        append(frame, provider, where, by_name)


def append(frame: Any, provider: str, where: str, by_name: bool) -> None:
    if by_name:
        frame.writeTo(where).append()
    else:
        frame.write.format(provider).mode("append").save(where)


@pytest.mark.parametrize("by_name", [False, True], ids=["by path", "by name"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_table_that_changes_meanwhile(spark, photos, warehouse, monkeypatch, provider, by_name):
    name = f"{'name' if by_name else 'path'}_{provider}"
    where = f"{PROVIDERS[provider]}.{name}" if by_name else str(warehouse / name)
    make(spark, provider, where, rows(spark, photos, "ABA"), by_name)
    append(rows(spark, photos, "BCD", 3), provider, where, by_name)
    # Between the two readings, for hashing and for copying, there are more commits.
    write_output = job.write_output

    def meanwhile(*arguments: Any) -> Any:
        append(rows(spark, photos, "EF", 10), provider, where, by_name)
        return write_output(*arguments)

    monkeypatch.setattr(job, "write_output", meanwhile)
    output = warehouse / f"out {name}"
    target = f"{PROVIDERS[provider]}.kept_{name}"
    kind = ["--output-format", "table", "--output-table", target] if by_name else []
    given = ["--input", where, "--input-format", "table" if by_name else provider, "--output", str(output)]
    summary = job.run(spark, read_options([*given, *kind]))
    assert (summary["rows_in"], summary["rows_kept"]) == (6, 4)
    kept = spark.table(target) if by_name else spark.read.format(provider).load(str(output / "kept"))
    # A table's files have an order, by their names, but not that of its commits.
    assert sorted(row.id for row in kept.collect()) in ([0, 1, 4, 5], [0, 3, 4, 5]) and kept.columns == ["id", "image"]
    monkeypatch.undo()
    # Ids are of the first reading, too: without a column of their own, and with one.
    again = [*given[:-1], str(warehouse / f"again {name}"), "--id-col", "id", "--output-format", "parquet"]
    assert job.run(spark, read_options(again))["rows_in"] == 8
    duplicates = spark.read.parquet(str(warehouse / f"again {name}" / "duplicates"))
    assert {row.id: row.kept_id for row in duplicates.collect()} in ({2: 0, 3: 1}, {2: 0, 1: 3})
    if by_name:  # one commit takes the place of what the run had written
        job.run(spark, read_options([*given, *kind, "--overwrite"]))
        assert spark.table(target).count() == 6
        with pytest.raises(UserError, match="no run has written it"):
            job.run(spark, read_options(["--input", target, "--input-format", "table", "--output", f"{output} 3",
                                         "--output-format", "table", "--output-table", where]))  # fmt: skip
    elif provider == "iceberg":
        with pytest.raises(UserError, match="cannot take the place of another"):
            job.run(spark, read_options([*given, "--overwrite"]))
    else:
        job.run(spark, read_options([*given, "--overwrite"]))
        assert spark.read.format("delta").load(str(output / "kept")).count() == 6


@pytest.mark.parametrize("provider", PROVIDERS)
def test_marks_go_into_a_merge(spark, photos, warehouse, provider):
    table = f"{PROVIDERS[provider]}.marked"
    make(spark, provider, table, rows(spark, photos, "ABA").selectExpr("*", "true AS stays"), True)
    output = str(warehouse / f"marks {provider}")
    given = ["--input", table, "--input-format", "table", "--output", output, "--id-col", "id", "--mark", "stays"]
    job.run(spark, read_options(given))
    spark.sql(
        f"MERGE INTO {table} t USING parquet.`{output}/marks` m ON t.id = m.id "
        "WHEN MATCHED THEN UPDATE SET t.stays = m.stays"
    )
    assert {row.id: row.stays for row in spark.table(table).collect()} == {0: True, 1: True, 2: False}
