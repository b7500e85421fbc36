"""Every kind of input, and rows that come out as they went in, in order, whatever the splits."""

from __future__ import annotations

import base64
import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.read import row_groups
from imgdedup_spark.read.listing import root_of
from imgdedup_spark.read.open import read_source
from imgdedup_spark.read.source import PLACE, Root
from imgdedup_spark.spark.settings import settings

pytestmark = pytest.mark.spark


def png(number, size=12):
    """A small picture of its own for each number: ``pixels`` tells them apart."""
    import io

    from PIL import Image

    picture = Image.new("RGB", (size, size), (number % 256, number // 256 % 256, number // 65536))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


PIXELS = ("--method", "pixels")


def test_other_columns_pass_untouched(run, tmp_path):
    stamp = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
    table = pa.table(
        {
            "größe": pa.array([1.5, None, float("nan")], pa.float32()),
            "a.b c": pa.array(["ü", None, ""]),
            "nested": pa.array([{"x": [1, 2], "y": {"z": None}}, None, {"x": [], "y": None}],
                               pa.struct([("x", pa.list_(pa.int8())), ("y", pa.struct([("z", pa.string())]))])),
            "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "money": pa.array([decimal.Decimal("1234567890.12"), None, decimal.Decimal("-0.01")], pa.decimal128(20, 2)),
            "utc": pa.array([stamp, None, stamp], pa.timestamp("us", "UTC")),
            "local": pa.array([stamp, None, stamp], pa.timestamp("us")),
            "day": pa.array([stamp.date(), None, stamp.date()]),
            "image": [png(1), png(2), png(1)],
        }
    ).replace_schema_metadata({"huggingface": '{"info": {}}'})  # fmt: skip
    pq.write_table(table, tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", *PIXELS)
    assert str(result.kept) == str(table.slice(0, 2).to_pylist())
    file = next((result.folder / "kept").glob("*.parquet"))
    assert pq.read_schema(file).equals(pq.read_schema(tmp_path / "in.parquet"), check_metadata=True)


def test_hugging_face_structs(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "three.png").write_bytes(png(3))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [
        {"bytes": png(3), "path": "x.png"},
        {"bytes": None, "path": "three.png"},
        {"bytes": None, "path": None},
        None,
    ]
    meta = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}
    table = pa.table({"image": pa.array(rows, kind), "label": [0, 1, 2, 3]}).replace_schema_metadata(meta)
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    result = run(tmp_path / "data" / "train-00000-of-00001.parquet", *PIXELS)
    assert result.ids("label") == [0, 2, 3]
    assert pq.read_schema(next((result.folder / "kept").glob("*.parquet"))).metadata[b"huggingface"]


def test_paths_structs_and_lists_of_them(run, tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    one, two = {"bytes": png(1), "path": None}, {"bytes": None, "path": "2.png"}
    lists = [[one, two], [{"bytes": None, "path": "1.png"}, two], [two, one]]
    pq.write_table(pa.table({"id": [1, 2, 3], "images": pa.array(lists, kind)}), tmp_path / "a.parquet")
    assert run(tmp_path / "a.parquet", *PIXELS).ids() == [1, 3]
    paths = ["1.png", str(tmp_path / "1.png"), f"file://{tmp_path}/1.png", "2.png"]
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "image": paths}), tmp_path / "b.parquet")
    assert run(tmp_path / "b.parquet", *PIXELS).ids() == [1, 4]


def test_hugging_face_structs_as_json_lines(run, tmp_path):
    """JSON has no binary: `bytes` is base64 there."""
    (tmp_path / "three.png").write_bytes(png(3))
    text = base64.b64encode(png(3)).decode()
    images = [{"bytes": text, "path": "x.png"}, {"bytes": None, "path": "three.png"}, {"bytes": None, "path": None}]
    lines = [json.dumps({"images": [image], "label": label}) for label, image in enumerate(images)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    result = run(tmp_path / "in.jsonl", *PIXELS)
    assert result.ids("label") == [0, 2]


def test_json_lines_come_out_byte_for_byte(run, tmp_path):
    a, b = (base64.b64encode(png(number)).decode() for number in (1, 2))
    lines = [
        '{"z": 1.0, "image": "%s", "a": null, "n": 12345678901234567890123}' % a,
        '{"image":"%s"}' % b,
        "",
        '{"image": "%s", "mixed": "text"}' % a,
        '{"mixed": 7, "image": null}',
        "not json at all",
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    result = run(tmp_path / "in.jsonl", *PIXELS)
    out = b"".join(file.read_bytes() for file in sorted((result.folder / "kept").glob("*.jsonl")))
    assert out.decode() == "\n".join([lines[0], lines[1], lines[4], lines[5]]) + "\n"
    assert result.dropped == {"in.jsonl#2": "in.jsonl#0"}


def test_folder_of_images(run, tmp_path):
    folder = tmp_path / "pics é #1"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.png").write_bytes(png(1))
    (folder / "a.PNG").write_bytes(png(2))
    (folder / "sub" / "a.png").write_bytes(png(1))
    (folder / "c d%20.jpg").write_bytes(b"broken")
    (folder / "notes.txt").write_text("not a picture")
    result = run(folder, *PIXELS)
    assert result.ids("path") == [str(folder / name) for name in ("a.PNG", "b.png", "c d%20.jpg")]
    assert result.dropped == {"sub/a.png#0": "b.png#0"}
    assert [row["id"] for row in result.table("errors")] == ["c d%20.jpg#0"]
    again = run(folder, *PIXELS, "--output-format", "parquet", "--on-error", "drop")
    assert again.ids("path") == [str(folder / name) for name in ("a.PNG", "b.png")]


def test_several_inputs_in_the_order_given(run, tmp_path):
    for name, numbers in (("b", [1, 2]), ("a", [2, 3]), ("c", [1, 4])):
        (tmp_path / name).mkdir()
        table = pa.table(
            {"tag": [f"{name}{number}" for number in numbers], "image": [png(number) for number in numbers]}
        )
        pq.write_table(table, tmp_path / name / "part.parquet")
    result = run([tmp_path / "b", tmp_path / "a", tmp_path / "c" / "*.parquet"], *PIXELS)
    assert result.ids("tag") == ["b1", "b2", "a3", "c4"]
    assert result.dropped == {
        f"{tmp_path}/a/part.parquet#0": f"{tmp_path}/b/part.parquet#1",
        f"{tmp_path}/c/part.parquet#0": f"{tmp_path}/b/part.parquet#0",
    }
    assert run([tmp_path / "a", tmp_path / "b"], *PIXELS).ids("tag") == ["a2", "a3", "b1"]


def test_any_spark_data_source(run, spark, tmp_path):
    rows = [(number, base64.b64encode(png(number % 3)).decode()) for number in range(6)]
    frame = spark.createDataFrame(rows, "id int, image string").coalesce(1)
    frame.write.orc(str(tmp_path / "orc"))
    result = run(tmp_path / "orc", "--input-format", "orc", *PIXELS)
    assert result.ids() == [0, 1, 2]
    frame.write.option("header", True).csv(str(tmp_path / "csv"))
    result = run(tmp_path / "csv", *PIXELS)
    assert result.ids() == ["0", "1", "2"]


def test_partition_folders_add_their_column(run, spark, tmp_path):
    for number, day in enumerate(("2024-01-02", "2024-01-01")):
        folder = tmp_path / "in" / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(
            pa.table({"id": [number, number + 10], "image": [png(1), png(number + 2)]}), folder / "x.parquet"
        )
    result = run(tmp_path / "in", *PIXELS)
    assert [(row["id"], str(row["day"])) for row in result.kept] == [
        (1, "2024-01-01"),
        (11, "2024-01-01"),
        (10, "2024-01-02"),
    ]


def test_other_output_format(run, tmp_path):
    for name, numbers in (("a", [1]), ("b", [2, 3, 1, 4, 5, 6]), ("c", [7, 2, 8])):
        table = pa.table(
            {"id": numbers, "image": [png(number) for number in numbers], "none": pa.nulls(len(numbers), pa.int32())}
        )
        pq.write_table(table, tmp_path / f"{name}.parquet")
    result = run(tmp_path / "*.parquet", *PIXELS, "--output-format", "jsonl")
    assert result.ids() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert result.kept[0] == {"id": 1, "image": base64.b64encode(png(1)).decode(), "none": None}


def test_columns_named_like_our_own(run, spark, tmp_path):
    names = ["order", "id", "piece", "key", "rank", "row", "file", "name", "hash", "text", "distance", "p", "keeper"]
    columns = {name: [f"{name}{number}" for number in range(3)] for name in names}
    pq.write_table(pa.table({**columns, "image": [png(1), png(2), png(1)]}), tmp_path / "in.parquet")
    options = (*PIXELS, "--text-col", "text", "--text-normalize", "ignore_non_character", "--show-num", 1)
    for kind in ("parquet", "jsonl"):
        result = run(tmp_path / "in.parquet", *options, "--keep", "key desc", "--output-format", kind)
        assert result.ids("order") == ["order1", "order2"]
        assert result.lines("pairs")[0]["kept"]["text"] == "text2"
    frame = spark.read.parquet(str(tmp_path / "in.parquet"))
    found = deduplicate(frame, DedupConfig(method="pixels"), id_col="id")
    assert sorted(row.order for row in found.kept.collect()) == ["order0", "order1"]
    found.close()


def test_no_rows_is_a_normal_run(run, tmp_path):
    table = pa.table({"id": pa.array([], pa.int64()), "image": pa.array([], pa.binary())})
    pq.write_table(table.replace_schema_metadata({"huggingface": "{}"}), tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", "--show-num", 3)
    assert result.summary["rows_in"] == result.summary["rows_kept"] == result.summary["groups"] == 0
    assert result.table("duplicates") == result.table("errors") == result.table("hashes") == result.kept == []
    schema = pq.read_schema(result.folder / "kept" / "part-00000.parquet")
    assert schema.names == ["id", "image"]
    assert schema.metadata == {b"huggingface": b"{}"}
    (tmp_path / "in.jsonl").write_text("")
    assert run(tmp_path / "in.jsonl").summary["rows_in"] == 0


@pytest.fixture
def split(spark):
    """Sets the size of file splits for a while."""
    name, cost = "spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes"
    before = spark.conf.get(name), spark.conf.get(cost)

    def split_at(size):
        spark.conf.set(name, str(size))
        spark.conf.set(cost, str(min(size, 4 << 20)))

    yield split_at
    spark.conf.set(name, before[0])
    spark.conf.set(cost, before[1])


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.long
def test_ids_are_stable_whatever_the_split_size(run, split, tmp_path, kind):
    """Between runs, and between the two readings of one run: a drop decided on one split must hit the same row
    when kept/ is copied."""
    numbers = [[n * 7 % 60 for n in range(80)], [n % 50 for n in range(30)], [200]]
    for name, values in zip("bac", numbers, strict=True):
        table = pa.table(
            {"row": [f"{name}{i}" for i in range(len(values))], "n": values, "image": [png(v) for v in values]}
        )
        if kind == "parquet":
            pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=7)
        else:
            rows = [{**row, "image": base64.b64encode(row["image"]).decode()} for row in table.to_pylist()]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    seen, expected = set(), []
    for name, values in sorted(zip("bac", numbers, strict=True)):
        for i, value in enumerate(values):
            if value not in seen:
                seen.add(value)
                expected.append(f"{name}{i}")
    found = []
    for size in (300, 1000, 4000, 128 << 20):
        split(size)
        result = run(tmp_path / f"*.{kind}", *PIXELS)
        assert result.ids("row") == expected
        assert len({row["id"] for row in result.table("hashes")}) == 111
        found.append(sorted(map(str, result.table("duplicates"))))
    assert found[1:] == found[:-1]


def test_root_of():
    assert root_of("/data", "file:///data/x/a.parquet") == Root("/data", "/data")
    assert root_of("/data/a.parquet", "file:///data/a.parquet") == Root("/data", "/data/a.parquet")
    assert root_of("/data/*/a b.parquet", "file:///data/x/a%20b.parquet") == Root("/data", "/data/x/a b.parquet")
    assert root_of("/data/a*", "file:///data/a.parquet") == Root("/data", "/data/a.parquet")
    assert root_of("s3a://bucket/d/", "s3a://bucket/d/x.parquet") == Root("s3a://bucket/d", "s3a://bucket/d")
    assert root_of("/d", "hdfs://nn:8020/d/x.parquet") == Root("hdfs://nn:8020/d", "hdfs://nn:8020/d", "hdfs://nn:8020")
    assert root_of("d", "hdfs://nn/user/me/d/x.parquet").folder == "hdfs://nn/user/me/d"


def test_a_file_older_than_the_image_column(run, tmp_path):
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "old.parquet")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(1), "path": None}] * 2, kind)
    pq.write_table(pa.table({"id": [3, 4], "image": images}), tmp_path / "new.parquet")
    result = run([tmp_path / "old.parquet", tmp_path / "new.parquet"], *PIXELS)
    assert result.ids() == [1, 2, 3]
    assert result.summary["images"] == 2


@pytest.mark.parametrize("shards", ["alike", "different"])
def test_a_row_group_that_one_task_would_take_is_many(shards, run, spark, tmp_path, monkeypatch):
    """As pandas and pyarrow write them, up to a million rows."""
    images = [png(number % 40) for number in range(90)]
    (tmp_path / "in").mkdir()
    for name, part in (("a", images[:70]), ("b", images[70:])):
        more = {"more": range(20)} if shards == "different" and name == "b" else {}
        table = pa.table({"id": range(len(part)), "image": part, **more})
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet")
    whole = run(tmp_path / "in", "--method", "md5")
    monkeypatch.setattr(row_groups, "LEAST_BYTES", 1000)
    source = read_source(spark, [str(tmp_path / "in")], None)
    places = source.spread(source.frame.select(PLACE)).select(F.spark_partition_id().alias("task"), f"{PLACE}.*")
    tasks = {}
    for one in places.collect():
        tasks.setdefault((one["task"], one["file"]), []).append(one["row"])
    assert len(tasks) > 2 and max(map(len, tasks.values())) < 70
    assert all(rows == sorted(rows) for rows in tasks.values())
    again = run(tmp_path / "in", "--method", "md5")
    assert again.kept == whole.kept and again.dropped == whole.dropped and len(whole.kept) == 40
    names = [sorted(one.name for one in (result.folder / "kept").iterdir()) for result in (again, whole)]
    assert names[0] == names[1]


def test_files_that_spark_would_pack_into_few_tasks_are_many(spark, tmp_path, monkeypatch):
    """Three tasks on two cores take as long as four."""
    monkeypatch.setattr(row_groups, "LEAST_BYTES", 1000)
    for number in range(6):
        table = pa.table({"image": [png(number * 40 + row) for row in range(40)]})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=10)
    source = read_source(spark, [str(tmp_path)], None)

    def tasks():
        return source.frame.select(F.spark_partition_id()).distinct().count()

    with settings(spark, {"spark.sql.files.openCostInBytes": "0"}):
        assert tasks() <= 4
        with settings(spark, source.splits):
            assert tasks() >= 6
    with settings(spark, {"spark.sql.files.maxPartitionBytes": "900"}):
        assert read_source(spark, [str(tmp_path)], None).splits == {}
    assert source.only(source.states[:1]).target < source.target
    pq.write_table(pa.table({"image": [png(row) for row in range(300)]}), tmp_path / "large.parquet")
    # Its row group is many tasks' already.
    assert read_source(spark, [str(tmp_path)], None).splits == {}


def test_some_files_of_many_are_as_many_tasks_as_they_are_worth(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "LEAST_BYTES", 1000)
    for number in range(12):
        images = [png(row) for row in range(60 if number == 5 else 1)]
        pq.write_table(pa.table({"image": images}), tmp_path / f"{number} é.parquet")
    source = read_source(spark, [str(tmp_path)], None)
    rows = source.spread(source.frame.select(PLACE)).select(F.spark_partition_id().alias("task"), f"{PLACE}.*")
    places = [(one["task"], one["input"], one["file"], one["row"]) for one in rows.collect()]
    assert len(places) == 71 and places == sorted(places) and places[-1][0] < 40
    assert len({one[:2] for one in places if "/5%20" in one[2]}) > 1
    few = source.only([one for one in source.states if "/5%20" not in one.uri])
    rows = few.frame.select(PLACE)
    assert few.spread(rows) is rows and rows.count() == 11 == few.known_rows
