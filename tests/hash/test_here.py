"""Prints that the driver makes by itself are those that Spark makes."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import spark_settings
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField
from pyspark.sql.utils import is_remote

from imgdedup_spark.hash import store
from imgdedup_spark.hash.hashes import ReadyHashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.read import here
from imgdedup_spark.read.source import FileState

pytestmark = pytest.mark.spark


def hashes(count: int, seed: int) -> list[str | None]:
    """Near each other in chains, equal ones, and rows without any."""
    chance = random.Random(seed)
    centers = [chance.getrandbits(64) for _ in range(count // 4)]
    values = [chance.choice(centers) ^ (1 << chance.randrange(64)) for _ in range(count)]
    return [chance.choice([f"{value:016x}"] * 9 + [None, ""]) for value in values]


def write(path, values, first=0, kind=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"h": pa.array(values, kind or pa.string()), "n": range(first, first + len(values)), **columns}
    pq.write_table(pa.table(table), path, row_group_size=50)


@pytest.fixture
def written(monkeypatch):
    """How many prints the driver has made, file by file."""
    counts = []

    def write_here(table, folder):
        counts.append(len(table))
        return original(table, folder)

    original = store.write_here
    monkeypatch.setattr(store, "write_here", write_here)
    return counts


def agree(run, inputs, options, monkeypatch, written, rows):
    """The same run with prints of the driver's making and of Spark's; the first one's result.

    Args:
        rows: that the driver is to have made prints of; 0 for none.
    """
    first = run(inputs, "--hash-col", "h", *options)
    assert sum(written) == (0 if is_remote() else rows)
    with monkeypatch.context() as patched:
        patched.setattr(ReadyHashes, "here", Prints.here)
        spark = run(inputs, "--hash-col", "h", *options)
    assert sum(written) == (0 if is_remote() else rows)
    for name in ("duplicates", "hashes", "errors"):
        tables = [sorted(map(repr, result.table(name))) for result in (first, spark)]
        assert tables[0] == tables[1], name
    assert [repr(row) for row in first.kept] == [repr(row) for row in spark.kept]
    assert first.summary["rows_dropped"] == spark.summary["rows_dropped"]
    return first


@pytest.mark.parametrize("options", [(), ("--threshold", 3), ("--threshold", 3, "--id-col", "n")])
def test_files_of_all_names_and_several_inputs(run, tmp_path, monkeypatch, written, options):
    write(tmp_path / "a" / "b c" / "x%20é+1.parquet", hashes(120, 1))
    write(tmp_path / "a" / "y.parquet", hashes(60, 2), 200)
    write(tmp_path / "z" / "y.parquet", hashes(70, 2), 300)
    inputs = [tmp_path / "a", tmp_path / "z" / "y.parquet"]
    result = agree(run, inputs, options, monkeypatch, written, 250)
    assert result.summary["rows_dropped"] > 5


@pytest.mark.parametrize("odd", [" 00ff00ff00ff00ff", "00FF00FF00FF00FF", "none"])
def test_a_hash_that_is_not_as_it_should_be_is_spark_s(run, tmp_path, monkeypatch, written, odd):
    write(tmp_path / "a.parquet", [*hashes(60, 1), odd, "00ff00ff00ff00ff"])
    result = agree(run, tmp_path / "a.parquet", ("--on-error", "keep"), monkeypatch, written, 0)
    ids = [row["id"] for row in result.table("errors" if odd == "none" else "duplicates")]
    assert ("a.parquet#60" if odd == "none" else "a.parquet#61") in ids


@pytest.mark.parametrize(
    ("kind", "rows"),
    [(pa.large_string(), 60), (pa.dictionary(pa.int32(), pa.string()), 0), (pa.binary(), 0)],
    ids=str,
)
def test_other_types_of_text(run, tmp_path, monkeypatch, written, kind, rows):
    values = hashes(60, 1)
    if kind == pa.binary():
        values = [bytes.fromhex(one or "") for one in values]
    write(tmp_path / "a.parquet", values, kind=kind)
    agree(run, tmp_path / "a.parquet", (), monkeypatch, written, rows)


@pytest.mark.parametrize("options", [("--text-col", "t"), ("--keep", "n desc")])
def test_what_texts_and_terms_become_is_spark_s(run, tmp_path, monkeypatch, written, options):
    write(tmp_path / "a.parquet", hashes(60, 1), t=["a", "b", None] * 20)
    agree(run, tmp_path / "a.parquet", options, monkeypatch, written, 0)


def test_strings_of_a_noted_length_are_spark_s(run, spark, tmp_path, monkeypatch, written):
    """Which it may fill up."""
    spark.sql("select cast(hex(id % 7) as char(4)) as h, id as n from range(30)").select(
        F.lower("h").alias("h", metadata={"__CHAR_VARCHAR_TYPE_STRING": "char(4)"}), "n"
    ).coalesce(1).write.parquet(str(tmp_path / "a"))
    agree(run, tmp_path / "a", (), monkeypatch, written, 0)


@pytest.mark.parametrize("options", [(), ("--output-format", "jsonl")])
def test_files_of_several_parts_stay_in_order(run, spark, tmp_path, monkeypatch, written, options):
    """Of one scan Spark reads the largest part first; and a file of kept/ is of parts, not of files of any size."""
    monkeypatch.setattr(here, "_PART_BYTES", 20_000)
    monkeypatch.setattr("imgdedup_spark.write.kept.LEAST_FILE_BYTES", 40_000)
    for number, rows in ((1, 200), (2, 150)):
        beside = [random.Random(row).randbytes(500) for row in range(rows)]
        write(tmp_path / "a" / f"{number}.parquet", hashes(rows, number), 1000 * number, beside=beside)
    with spark_settings(spark, {"spark.sql.files.maxPartitionBytes": "20000", "spark.sql.files.openCostInBytes": "1"}):
        result = agree(run, tmp_path / "a", options, monkeypatch, written, 350)
    numbers = [row["n"] for row in result.kept]
    assert numbers == sorted(numbers)
    if not options:
        assert len(list((result.folder / "kept").glob("part-*"))) > 2


def test_the_order_is_that_of_whole_files(run, tmp_path, monkeypatch, written):
    """Of which the one with more rows may be the smaller."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, rows, first, note in (("a", 120, 0, ""), ("b", 100, 1000, "x" * 9000)):
        table = pa.table({"h": hashes(rows, first), "n": range(first, first + rows)})
        pq.write_table(table.replace_schema_metadata({"note": note}), folder / f"{name}.parquet")
    result = agree(run, folder, ("--output-format", "jsonl"), monkeypatch, written, 220)
    numbers = [row["n"] for row in result.kept]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(("id_col", "count", "rows"), [(None, 40, 80), ("n", 40, 80), ("k", 1, 0)])
def test_values_of_folders_are_spark_s(run, tmp_path, monkeypatch, written, id_col, count, rows):
    """And other columns are the files' own."""
    for key in range(2):
        write(tmp_path / "a" / "h=00ff" / f"k={key}" / "a.parquet", hashes(40, key)[:count], 100 * key)
    result = agree(run, tmp_path / "a", ("--id-col", id_col) if id_col else (), monkeypatch, written, rows)
    assert result.kept[0]["k"] == "0"


def test_more_than_was_asked_for_is_spark_s(tmp_path):
    """Also what a dictionary makes small in the file, and many files."""
    pq.write_table(pa.table({"h": ["text " * 600] * 100_000}), tmp_path / "a.parquet")
    state = FileState(0, f"file://{tmp_path}/a.parquet", (tmp_path / "a.parquet").stat().st_size, 0)
    fields = [StructField("h", StringType())]
    assert state.size < 100_000
    assert here.read_here([state], fields, 100 << 20) is None
    assert len(here.read_here([state], fields, 400 << 20)) == 100_000
    assert here.read_here([state] * (here.MOST_FILES + 1), fields, 1 << 40) is None


def test_an_index_of_both_kinds(run, tmp_path, written):
    """A later run reads prints that Spark has made beside those that the driver makes."""
    write(tmp_path / "in" / "a.parquet", [*hashes(60, 1), "odd"])
    options = ("--hash-col", "h", "--on-error", "keep", "--threshold", 3)
    run(tmp_path / "in", *options, "--index", tmp_path / "index", "--run-id", "one")
    assert not written
    write(tmp_path / "in" / "b.parquet", hashes(60, 2))
    result = run(tmp_path / "in", *options, "--index", tmp_path / "index", "--run-id", "two")
    assert written == ([] if is_remote() else [60])
    assert result.summary["stages"]["hash"]["files_reused"] == 1
    alone = run(tmp_path / "in", *options)
    assert [row["id"] for row in result.table("hashes")] == [row["id"] for row in alone.table("hashes")]
