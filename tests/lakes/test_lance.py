"""Lance, in and out, while somebody else writes. With PySpark 3.5, for which the jars are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyspark
import pytest
from conftest import classic_session
from servers import jars, need

from imgdedup_spark import deduplicate, job
from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.write.catalog import check_table

pytestmark = [
    *need("lance"),
    pytest.mark.skipif(not pyspark.__version__.startswith("3.5"), reason="the connector's jars are for Spark 3.5"),
]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    session = classic_session(
        {
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            # Before Spark's own classes: Lance needs a newer Arrow than Spark 3.5 has.
            "spark.driver.extraClassPath": jars("lance").replace(",", ":"),
            "spark.sql.catalog.lance": "org.lance.spark.LanceNamespaceSparkCatalog",
            "spark.sql.catalog.lance.impl": "dir",
            "spark.sql.catalog.lance.root": str(tmp_path_factory.mktemp("lance")),
        }
    )
    session.sql("CREATE NAMESPACE IF NOT EXISTS lance.pictures")
    yield session
    session.stop()


def rows(spark: Any, photos: dict[str, bytes], letters: str, first: int = 0) -> Any:
    data = [(first + number, photos[letter], [letter]) for number, letter in enumerate(letters)]
    return spark.createDataFrame(data, "id bigint, image binary, tags array<string>").coalesce(1)


def read(spark: Any, where: Path) -> list[Any]:
    return spark.read.format("lance").load(str(where)).collect()


def test_a_table_that_changes_meanwhile(spark, photos, tmp_path, monkeypatch):
    where, output = tmp_path / "in.lance", tmp_path / "out"
    rows(spark, photos, "ABA").write.format("lance").save(str(where))
    rows(spark, photos, "BCD", 3).write.format("lance").mode("append").save(str(where))
    write_output = job.write_output

    def meanwhile(*arguments: Any) -> Any:
        rows(spark, photos, "EF", 10).write.format("lance").mode("append").save(str(where))
        return write_output(*arguments)

    monkeypatch.setattr(job, "write_output", meanwhile)
    given = ["--input", str(where), "--input-format", "lance", "--output", str(output)]
    summary = job.run(spark, read_options(given))
    assert (summary["rows_in"], summary["rows_kept"]) == (6, 4)
    assert [(row.id, row.image, row.tags) for row in read(spark, output / "kept")] == [
        (number, photos[letter], [letter]) for number, letter in zip((0, 1, 4, 5), "ABCD", strict=True)
    ]
    duplicates = spark.read.parquet(str(output / "duplicates")).collect()
    assert {row.id: row.kept_id for row in duplicates} == {"0#2": "0#0", "1#0": "0#1"}
    monkeypatch.undo()
    job.run(spark, read_options([*given, "--overwrite"]))
    # The connector remembers what it has read by path and version, whoever has replaced it.
    shutil.copytree(output / "kept", tmp_path / "kept")
    assert [row.id for row in read(spark, tmp_path / "kept")] == [0, 1, 4, 5, 10, 11]


def test_several_tables_and_rows_that_were_deleted(spark, photos, tmp_path):
    for name, letters in (("a", "ABA"), ("b", "CAD")):
        rows(spark, photos, letters).write.format("lance").save(str(tmp_path / f"{name}.lance"))
    spark.sql(f"DELETE FROM lance.`{tmp_path / 'a.lance'}` WHERE id = 0")
    given = ["--input", str(tmp_path / "a.lance"), str(tmp_path / "b.lance"), "--input-format", "lance"]
    job.run(spark, read_options([*given, "--output", str(tmp_path / "out"), "--output-format", "parquet"]))
    duplicates = spark.read.parquet(str(tmp_path / "out" / "duplicates")).collect()
    assert {row.id: row.kept_id for row in duplicates} == {"1/0#1": "0/0#2"}


def test_fragments_in_the_order_of_their_numbers(spark, photos, tmp_path):
    for number, letter in enumerate("ABCDEFBACDEF"):
        rows(spark, photos, letter, number).write.format("lance").mode("append" if number else "error").save(
            str(tmp_path / "in.lance")
        )
    given = ["--input", str(tmp_path / "in.lance"), "--input-format", "lance", "--output", str(tmp_path / "out")]
    job.run(spark, read_options(given))
    assert [row.id for row in read(spark, tmp_path / "out" / "kept")] == [0, 1, 2, 3, 4, 5]


def test_blobs_are_refused(spark, photos, tmp_path):
    """The connector gives no bytes for them, and no error."""
    frame = rows(spark, photos, "AB")
    blob = frame.withMetadata("image", {"lance-encoding:blob": "true"})
    blob.write.format("lance").save(str(tmp_path / "in.lance"))
    given = ["--input", str(tmp_path / "in.lance"), "--input-format", "lance", "--output", str(tmp_path / "out")]
    with pytest.raises(UserError, match="image is a blob column of Lance's"):
        job.run(spark, read_options(given))


@pytest.mark.parametrize("where", ["hdfs://nowhere/out", "s3a://bucket/out"])
def test_stores_that_lance_does_not_know_are_refused(where):
    with pytest.raises(UserError, match="does not know this store"):
        check_table(None, None, JobConfig(output=where, output_format="lance"), where)


def test_parquet_goes_into_lance(spark, photos, tmp_path):
    rows(spark, photos, "ABAB").write.parquet(str(tmp_path / "in"))
    given = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--output-format", "lance"]
    job.run(spark, read_options(given))
    assert [row.id for row in read(spark, tmp_path / "out" / "kept")] == [0, 1]


def test_a_table_by_its_name(spark, photos, tmp_path):
    rows(spark, photos, "ABAC").writeTo("lance.pictures.web").create()
    given = ["--input", "lance.pictures.web", "--input-format", "table", "--id-col", "id"]
    given += ["--output", str(tmp_path / "out"), "--output-format", "table", "--output-table"]
    job.run(spark, read_options([*given, "lance.pictures.kept"]))
    assert sorted(row.id for row in spark.table("lance.pictures.kept").collect()) == [0, 1, 3]
    # The catalog keeps no properties of tables, so that nobody can tell whose one is.
    with pytest.raises(UserError, match="no run has written it"):
        job.run(spark, read_options([*given, "lance.pictures.kept", "--overwrite"]))
    job.run(spark, read_options([*given[:4], "--output", str(tmp_path / "named"), "--output-format", "jsonl"]))
    duplicates = spark.read.parquet(str(tmp_path / "named" / "duplicates")).collect()
    assert {row.id: row.kept_id for row in duplicates} == {"0#2": "0#0"}
    kept = deduplicate(spark.table("lance.pictures.web"), id_col="id").kept
    assert sorted(row.id for row in kept.collect()) == [0, 1, 3]
