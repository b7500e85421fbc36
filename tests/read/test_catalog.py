"""Tables of Spark's own catalog, by name; those of Delta and Iceberg are tested in ``tests/lakes``."""

from __future__ import annotations

import pytest
from test_inputs import PIXELS, png

from imgdedup_spark.errors import UserError
from imgdedup_spark.spark.catalog import parts_of

pytestmark = pytest.mark.spark
ROWS = [(number, png(number % 3)) for number in range(5)]


@pytest.fixture
def tables(spark, tmp_path):
    """A schema with the table ``rows``."""
    spark.sql(f"CREATE SCHEMA pictures LOCATION '{tmp_path}/warehouse'")
    spark.createDataFrame(ROWS, "id bigint, image binary").coalesce(1).write.saveAsTable("pictures.rows")
    yield "pictures"
    spark.sql("DROP SCHEMA pictures CASCADE")


@pytest.mark.long
def test_from_table_to_table(spark, run, tables):
    named = ("--input-format", "table", "--output-format", "table", *PIXELS)
    result = run("pictures.rows", *named, "--output-table", "pictures.kept_rows", output="one")
    assert result.summary["rows_kept"] == 3 and len(result.dropped) == 2
    assert sorted(row.id for row in spark.table("pictures.kept_rows").collect()) == [0, 1, 2]
    assert result.lines("kept") == [] and (result.folder / "kept" / "_table.json").is_file()
    marked = run("pictures.rows", "--input-format", "table", *PIXELS, "--id-col", "id", "--mark", "stays")
    assert {row["id"]: row["stays"] for row in marked.table("marks")} == {0: True, 1: True, 2: True, 3: False, 4: False}
    assert not (marked.folder / "kept").exists()
    for options, said in (
        (["--output-table", "pictures.rows"], "it is the input"),
        (["--output-table", "PICTURES.`kept_rows`"], "of the run in .*one; name another table or add --overwrite"),
        (["--output-table", "nowhere.rows"], "there is no nowhere"),
        (["--output-table", "pictures.`kept rows`"], "not a valid name"),
        (["--output-table", "a b"], "--output-table a b: "),
    ):
        with pytest.raises(UserError, match=said):
            run("pictures.rows", *named, *options)
    with pytest.raises(UserError, match=r"--input pictures\.none: .*cannot be found"):
        run("pictures.none", *named, "--output-table", "pictures.other")
    with pytest.raises(UserError, match=r"--input \(SELECT 1\): "):
        run("(SELECT 1)", "--input-format", "table", *PIXELS)
    # The same output again is its own table's.
    run("pictures.rows", *named, "--output-table", "pictures.kept_rows", "--overwrite", output="one")
    assert spark.table("pictures.kept_rows").count() == 3
    with pytest.raises(UserError, match="--output-format delta: "):
        run("pictures.rows", "--input-format", "table", "--output-format", "delta", *PIXELS)


def test_names(spark):
    assert parts_of(spark, "A.`b.``C`.d") == ("a", "b.`c", "d")
    assert parts_of(spark, "rows") == (spark.catalog.currentCatalog().lower(), "default", "rows")


def test_rows_that_nothing_names_need_ids(spark, run):
    """As those of a view that is made of no file."""
    spark.createDataFrame(ROWS, "id bigint, image binary").createOrReplaceTempView("made_up")
    with pytest.raises(UserError, match="--input made_up: nothing tells where a row of it stands; say --id-col"):
        run("made_up", "--input-format", "table", *PIXELS)
    result = run("made_up", "--input-format", "table", *PIXELS, "--id-col", "id")
    assert result.dropped == {3: 0, 4: 1}
