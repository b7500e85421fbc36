"""The schema that is told Spark is the one that it would find."""

from __future__ import annotations

import decimal

import conftest
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.files.unite import read_footers
from imgdedup_spark.read.known_schema import known_schema
from imgdedup_spark.read.open import read_source
from imgdedup_spark.spark.settings import settings

pytestmark = pytest.mark.spark
NOTE = "org.apache.spark.sql.parquet.row.metadata"
PLAIN = pa.table(
    {
        "größe": pa.array([1.5, None], pa.float32()),
        "a.b c": pa.array(["ü", None], pa.large_string()),
        "image": pa.array([{"bytes": b"x", "path": "ü"}, None]),
        "deep": pa.array([{"one": {"two": 1}}, None], pa.struct([("one", pa.struct([("two", pa.int8())]))])),
        "sizes": pa.array([1, 2], pa.int16()),
        "count": pa.array([1, 2], pa.int32()),
        "rank": pa.array([1, 2]),
        "score": pa.array([0.5, 1]),
        "good": pa.array([True, None]),
        "data": pa.array([b"x", None], pa.large_binary()),
    }
)
OTHERS = {
    "list": pa.array([[1]]),
    "dictionary": pa.array(["a"]).dictionary_encode(),
    "money": pa.array([decimal.Decimal("1.5")]),
    "unsigned": pa.array([1], pa.uint32()),
    "stamp": pa.array([1], pa.timestamp("us")),
    "fixed": pa.array([b"ab"], pa.binary(2)),
    "nothing": pa.array([None]),
    "variant": pa.array([{"metadata": b"", "value": b""}]),
    "in a struct": pa.array([{"fine": 1, "not": [1]}]),
}


def noted(kind):
    """Spark's note of a column `id`."""
    return f'{{"type": "struct", "fields": [{{"name": "id", "type": "{kind}", "nullable": true, "metadata": {{}}}}]}}'


def told(spark, *paths):
    """What is told Spark; None, or what Spark would find as well."""
    schema = known_schema(read_footers([str(one) for one in paths]).values())
    if schema is not None:
        assert spark.read.schema(schema).parquet(str(paths[0])).schema == spark.read.parquet(str(paths[0])).schema
    return schema


def test_plain_types_are_told(spark, tmp_path):
    pq.write_table(PLAIN, tmp_path / "a.parquet")
    # Writers that are not Arrow's leave no schema of Arrow's.
    pq.write_table(PLAIN, tmp_path / "b.parquet", store_schema=False)
    assert told(spark, tmp_path / "a.parquet").names == PLAIN.column_names
    assert told(spark, tmp_path / "b.parquet").names == PLAIN.column_names


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_left_to_spark(spark, tmp_path, name):
    pq.write_table(pa.table({"id": [1], name: OTHERS[name]}), tmp_path / "a.parquet")
    assert told(spark, tmp_path / "a.parquet") is None


def test_what_spark_has_written(spark, tmp_path):
    rows = "id; array(id) AS ids; map('a', id) AS named; timestamp'2024-02-29' AS stamp; 1.5BD AS money; X'00' AS data"
    spark.range(3).selectExpr(*rows.split("; ")).withMetadata("id", {"comment": "ü"}).write.parquet(str(tmp_path / "a"))
    paths = sorted((tmp_path / "a").glob("*.parquet"))
    schema = told(spark, *paths)
    assert schema.names == ["id", "ids", "named", "stamp", "money", "data"]
    assert schema["id"].metadata == {"comment": "ü"}

    # Another note in one file: which one Spark believes is Spark's affair.
    other = pq.read_table(paths[0]).replace_schema_metadata(None)
    pq.write_table(other, tmp_path / "other.parquet")
    assert told(spark, *paths, tmp_path / "other.parquet") is None


def test_the_note_is_the_file_s_own(spark, tmp_path):
    """Not what a writer has copied of another file's schema."""
    old = {NOTE: noted("long")}
    table = pa.table({"id": [1], "caption": ["a"]})
    with pq.ParquetWriter(tmp_path / "noted.parquet", table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(old)
    assert told(spark, tmp_path / "noted.parquet").names == ["id"]

    pq.write_table(table.replace_schema_metadata(old), tmp_path / "all.parquet")
    stored = pq.read_metadata(tmp_path / "all.parquet").metadata[b"ARROW:schema"]
    with pq.ParquetWriter(tmp_path / "copied.parquet", table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": stored.decode()})
    assert told(spark, tmp_path / "copied.parquet").names == ["id", "caption"]


@pytest.mark.parametrize("note", ["", "{}", "[]", noted("tomorrow"), noted("char(5)")])
def test_notes_that_are_none(spark, tmp_path, note):
    table = pa.table({"id": [1]}).replace_schema_metadata({NOTE: note})
    pq.write_table(table, tmp_path / "a.parquet")
    assert told(spark, tmp_path / "a.parquet") is None


def test_bytes_that_spark_takes_for_text(spark, tmp_path):
    pq.write_table(pa.table({"id": [b"a"]}), tmp_path / "a.parquet")
    with settings(spark, {"spark.sql.parquet.binaryAsString": "true"}):
        source = read_source(spark, [str(tmp_path / "a.parquet")], None)
        assert source.schema["id"].dataType.simpleString() == "string"


@pytest.mark.skipif(conftest.MODE == "connect", reason="the file is written by classes of Spark's JVM")
def test_names_of_a_set_are_text_to_spark(spark, tmp_path):
    java, path = spark._jvm, tmp_path / "a.parquet"
    parquet = java.org.apache.parquet
    schema = parquet.schema.MessageTypeParser.parseMessageType("message rows { optional binary label (ENUM); }")
    place = java.org.apache.hadoop.fs.Path(str(path))
    writer = parquet.hadoop.example.ExampleParquetWriter.builder(place).withType(schema).build()
    writer.write(parquet.example.data.simple.SimpleGroupFactory(schema).newGroup().append("label", "cat"))
    writer.close()
    assert pq.read_schema(path).field("label").type == pa.binary()
    assert spark.read.parquet(str(path)).schema["label"].dataType.simpleString() == "string"
    assert told(spark, path) is None
