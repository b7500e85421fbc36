"""Names of columns that Spark has plans of its own for, and ids that are the same from everywhere."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_inputs import PIXELS, png

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.errors import UserError

pytestmark = pytest.mark.spark


def test_a_column_called_metadata(run, tmp_path):
    table = pa.table({"_metadata": ["a", "b", "c"], "image": [png(1), png(2), png(1)]})
    pq.write_table(table, tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text('{"_metadata": {"row_index": 1}, "image": null, "": 1}\n')
    result = run(tmp_path / "in.parquet", *PIXELS)
    assert result.ids("_metadata") == ["a", "b"] and result.dropped == {"in.parquet#2": "in.parquet#0"}
    for options in ((), ("--output-format", "parquet")):
        assert run(tmp_path / "in.jsonl", *PIXELS, *options).kept == [
            {"_metadata": {"row_index": 1}, "image": None, "": 1}
        ]


def test_columns_that_differ_by_case_alone(run, spark, tmp_path):
    pq.write_table(pa.table({"image": [png(1)], "Image": ["x"]}), tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text(json.dumps({"image": None, "Image": "x"}))
    for name in ("in.parquet", "in.jsonl"):
        with pytest.raises(UserError, match=r"--input.*`image`.* one name to Spark: rename one"):
            run(tmp_path / name, *PIXELS)
    before = spark.conf.get("spark.sql.caseSensitive")
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        assert run(tmp_path / "in.parquet", *PIXELS).kept == [{"image": png(1), "Image": "x"}]
        assert run(tmp_path / "in.jsonl", *PIXELS, "--image-col", "image").kept == [{"image": None, "Image": "x"}]
    finally:
        spark.conf.set("spark.sql.caseSensitive", before)


@pytest.mark.parametrize("others", [False, True])
def test_ids_of_files_are_the_same_from_python(run, spark, tmp_path, others):
    """Whether Spark reads the files, or the workers do."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(("a b+c%20", "a%41", "é", "a!")):
        image = pa.array([png(1), png(number + 2)])
        pq.write_table(pa.table({"image": image}), folder / f"{name}.parquet")
    if others:
        pq.write_table(pa.table({"image": pa.array([png(1)], pa.large_binary())}), folder / "z%25.parquet")
        frame = spark.read.schema("image binary").parquet(str(folder))
    else:
        frame = spark.read.parquet(str(folder))
    result = run(folder, *PIXELS)
    assert set(result.dropped.values()) == {"a b+c%20.parquet#0"}
    found = deduplicate(frame, DedupConfig(method="pixels"))
    assert {row.id: row.kept_id for row in found.duplicates.collect()} == result.dropped
    found.close()


def test_names_in_brackets_everywhere(run, tmp_path):
    folder = tmp_path / "[2024] {in} *"
    folder.mkdir()
    for number, name in enumerate("ab"):
        pq.write_table(pa.table({"image": [png(1), png(number + 2)]}), folder / f"{name}.parquet")
    options = (*PIXELS, "--index", tmp_path / "in{d,e}x", "--output-format", "jsonl")
    assert run(folder / "a.parquet", *options, "--run-id", "1", output="[out] 1").summary["rows_kept"] == 2
    assert run(folder / "b.parquet", *options, "--run-id", "2", output="[out] 2").dropped == {
        "b.parquet#0": "a.parquet#0"
    }


def test_views_beside_other_strings(run, tmp_path):
    for name, kind in (("a", pa.string()), ("b", pa.string_view()), ("c", pa.dictionary(pa.int8(), pa.string()))):
        table = pa.table({"t": pa.array([name], kind), "image": pa.array([png(1)])})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    result = run(tmp_path / "*.parquet", *PIXELS, "--text-col", "t")
    assert result.ids("t") == ["a", "b", "c"]
