"""Names of columns that Spark has plans of its own for, and ids that are the same from everywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from operator import attrgetter

import conftest
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import spark_settings
from test_inputs import PIXELS, png

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.errors import UserError
from imgdedup_spark.read.open import read_source
from imgdedup_spark.read.source import PLACE

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
    with spark_settings(spark, {"spark.sql.caseSensitive": "true"}):
        assert run(tmp_path / "in.parquet", *PIXELS).kept == [{"image": png(1), "Image": "x"}]
        assert run(tmp_path / "in.jsonl", *PIXELS, "--image-col", "image").kept == [{"image": None, "Image": "x"}]


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


def test_views_beside_other_strings(run, tmp_path):
    for name, kind in (("a", pa.string()), ("b", pa.string_view()), ("c", pa.dictionary(pa.int8(), pa.string()))):
        table = pa.table({"t": pa.array([name], kind), "image": pa.array([png(1)])})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    result = run(tmp_path / "*.parquet", *PIXELS, "--text-col", "t")
    assert result.ids("t") == ["a", "b", "c"]


def test_any_name_of_input_output_index_and_reference(run, tmp_path):
    """Brackets, braces, a colon, a percent sign, a backslash and stars, which Hadoop's globs and URIs mind."""
    # Through Connect, no glob of Hadoop's can have a colon beside brackets.
    odd = tmp_path / f"odd [x] {{y}} {';' if conftest.MODE == 'connect' else ':'} %20 \\ q*"
    odd.mkdir()
    for name, numbers in (("a", (1, 1, 2)), ("b", (1, 3))):
        pq.write_table(pa.table({"image": [png(number) for number in numbers]}), odd / f"{name}.parquet")
    index = ("--output-format", "jsonl", "--index", odd / "in{d,e}x", "--run-id")
    assert run(odd / "a.parquet", *PIXELS, *index, "1", output=odd / "1").dropped == {"a.parquet#1": "a.parquet#0"}
    assert run(odd / "b.parquet", *PIXELS, *index, "2", output=odd / "2").dropped == {"b.parquet#0": "a.parquet#0"}
    late = run(odd / "b.parquet", *PIXELS, "--against", odd / "in{d,e}x", output=odd / "3")
    assert len(late.dropped) == 2 and late.kept == []


def test_states_of_files_are_spelled_as_spark_does(spark, tmp_path):
    """Where they come from the listing: what is read again is found by them."""
    (tmp_path / "in" / "day=1").mkdir(parents=True)
    (tmp_path / "in" / "day=2").mkdir()
    table = pa.table({"image": [png(1)]})
    for name in ("in/day=1/a.parquet", "in/day=2/b_0-1.parquet", "c.parquet"):
        pq.write_table(table, tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / "c.parquet")
    inputs = [str(tmp_path / "in"), f"{tmp_path}/in/../c.parquet", f"file://{tmp_path}/link"]
    for paths in ([inputs[0]], inputs[1:], [inputs[1], inputs[1]]):
        source = read_source(spark, paths, "parquet")
        key = attrgetter("input", "uri")
        assert sorted(source.file_states(), key=key) == sorted(replace(source, listed=()).file_states(), key=key)
        spelled = {row.file for row in source.frame.select(f"{PLACE}.file").collect()}
        assert {one.uri for one in source.file_states()} == spelled
