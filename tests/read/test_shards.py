"""Parquet shards that differ, types that Spark does not know, and names that it hides: nothing is lost."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_inputs import PIXELS, png

from imgdedup_spark.errors import UserError

pytestmark = pytest.mark.spark


def write(folder, *tables):
    folder.mkdir()
    for number, table in enumerate(tables):
        pq.write_table(pa.table(table), folder / f"part-{number}.parquet")
    return folder


def images(*numbers):
    return pa.array([png(number) for number in numbers], pa.binary())


def kept(result):
    return pa.concat_tables([pq.read_table(file) for file in sorted((result.folder / "kept").glob("*.parquet"))])


def test_columns_and_types_that_come_later(run, tmp_path):
    first = {
        "id": pa.array([0, 1], pa.int32()),
        "note": pa.nulls(2),
        "image": images(1, 2),
        "x": pa.array([1, 2], pa.float32()),
    }
    second = {
        "id": pa.array([2, 3 << 40], pa.int64()),
        "note": ["x", "a cat"],
        "Image": images(1, 3),
        "caption": ["u", "v"],
    }
    result = run(write(tmp_path / "in", first, second), *PIXELS, "--id-col", "id")
    assert result.dropped == {2: 0}
    found = kept(result)
    assert found.schema.names == ["id", "note", "image", "x", "caption"]
    assert [str(field.type) for field in found.schema] == ["int64", "string", "binary", "float", "string"]
    rows = found.drop(["image"]).to_pylist()
    assert rows == [
        {"id": 0, "note": None, "x": 1.0, "caption": None},
        {"id": 1, "note": None, "x": 2.0, "caption": None},
        {"id": 3 << 40, "note": "a cat", "x": None, "caption": "v"},
    ]
    assert found["image"].to_pylist() == [png(1), png(2), png(3)]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (pa.array([1]), pa.array(["a"]), "column n is int64 in .*part-0.* and string in .*part-1"),
        (pa.array([1 << 60]), pa.array([0.5]), "column n is int64 in .* and double in"),
        (pa.array([True]), pa.array([dt.date(2024, 1, 1)]), "column n is bool"),
        (pa.array([[1 << 60]]), pa.array([[0.5]]), "column n is list<element: int64> in .* and list<element: double>"),
        (pa.array([{"a": 1 << 60}]), pa.array([{"a": 0.5, "b": 1}]), "column n is struct"),
        (pa.array([Decimal("0.1")]), pa.array([0.5]), "column n is decimal"),
        (pa.array(["a.png"]), pa.array([b"a"]), "column n is string in .* and binary"),
    ],
)
def test_what_cannot_be_united_is_refused_before_any_hashing(run, tmp_path, one, other, said):
    with pytest.raises(UserError, match=said):
        run(write(tmp_path / "in", {"image": images(1), "n": one}, {"image": images(2), "n": other}), *PIXELS)


def test_whole_numbers_with_and_without_a_sign(run, tmp_path):
    numbers = [pa.array([2**64 - 1], pa.uint64()), pa.array([-(2**63)], pa.int64())]
    folder = write(tmp_path / "in", *({"image": images(1 + at), "n": one} for at, one in enumerate(numbers)))
    assert kept(run(folder, *PIXELS))["n"].to_pylist() == [2**64 - 1, -(2**63)]


def test_shards_that_call_their_pictures_by_two_names(run, tmp_path):
    folder = write(tmp_path / "in", {"image": images(1, 2)}, {"images": images(1)})
    with pytest.raises(UserError, match="--image-col: some files have `images` and others `image`"):
        run(folder, *PIXELS)
    assert run(folder, *PIXELS, "--image-col", "image").summary["images"] == 2
    # A name that all files have is the one, whatever else is there.
    both = write(tmp_path / "both", {"images": images(1, 2)}, {"images": images(1), "image": images(3)})
    assert run(both, *PIXELS).dropped == {"part-1.parquet#0": "part-0.parquet#0"}


def test_types_that_only_arrow_knows(run, tmp_path):
    stamp = dt.datetime(2024, 2, 29, 12, 30, 15, 123456)
    table = pa.table(
        {
            "image": pa.array([png(1), png(2), png(1)], pa.binary_view()),
            "caption": pa.array(["a", "b", "a"]).dictionary_encode(),
            "view": pa.array(["a", None, "c"], pa.string_view()),
            "ns": pa.array([stamp] * 3, pa.timestamp("ns")),
            "time": pa.array([dt.time(1, 2, 3)] * 3, pa.time64("us")),
            "half": pa.array([1.0, 2.0, 3.0], pa.float16()),
            "span": pa.array([dt.timedelta(seconds=1)] * 3, pa.duration("us")),
            "uid": pa.array([uuid.UUID(int=number).bytes for number in range(3)], pa.uuid()),
            "u64": pa.array([2**64 - 1, 0, 1], pa.uint64()),
            "fixed": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
            "large": pa.array([[b"x"]] * 3, pa.large_list(pa.large_binary())),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", *PIXELS, "--text-col", "caption")
    assert result.summary["rows_dropped"] == 1
    found = kept(result)
    assert found.schema.equals(table.schema) and found.equals(table.slice(0, 2))


def test_hidden_names_and_pictures_in_dictionaries(run, tmp_path):
    folder = write(tmp_path / "in", {"n": [1, 2], "image": images(1, 2).dictionary_encode()})
    (folder / "part-0.parquet").rename(folder / "_part.parquet")
    (folder / "_more").mkdir()
    pq.write_table(pa.table({"n": [3], "image": images(1).dictionary_encode()}), folder / "_more" / "a.parquet")
    result = run(folder, *PIXELS)
    assert result.dropped == {"_part.parquet#0": "_more/a.parquet#0"}
    assert kept(result)["n"].to_pylist() == [3, 2]


def test_values_of_folders_stay_as_written(run, tmp_path):
    for shard, number in (("00012", 1), ("00013", 2)):
        (tmp_path / "in" / f"shard={shard}").mkdir(parents=True)
        pq.write_table(pa.table({"image": images(number)}), tmp_path / "in" / f"shard={shard}" / "a.parquet")
    assert [row["shard"] for row in run(tmp_path / "in", *PIXELS).kept] == ["00012", "00013"]
    # A column of the files wins over the folder's.
    for shard in ("00012", "00013"):
        file = tmp_path / "in" / f"shard={shard}" / "a.parquet"
        pq.write_table(pq.ParquetFile(file).read().append_column("shard", pa.array([f"own {shard}"])), file)
    assert [row["shard"] for row in run(tmp_path / "in", *PIXELS).kept] == ["own 00012", "own 00013"]


def test_folders_whose_keys_differ(run, tmp_path):
    """Rows above folders, folders of other keys, one that says nothing, and shards of other columns in them."""
    rows = {
        "": {},
        "x=01": {},
        "x=__HIVE_DEFAULT_PARTITION__": {"n": [7]},
        "y=a%20b/sub": {"view": pa.array(["v"], pa.string_view())},
    }
    for number, (folder, more) in enumerate(rows.items()):
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image": images(number), **more}), tmp_path / "in" / folder / "a.parquet")
    found = kept(run(tmp_path / "in", *PIXELS)).drop(["image"]).to_pylist()
    nothing = {"n": None, "view": None, "x": None, "y": None}
    assert sorted(found, key=repr) == sorted(
        [nothing, {**nothing, "x": "01"}, {**nothing, "n": 7}, {**nothing, "view": "v", "y": "a b"}], key=repr
    )


FOLDERS = (
    "",
    "a=1",
    "a=2/h=00ff",
    "a=__HIVE_DEFAULT_PARTITION__",
    "a=x%20y%2F+z",
    "a=100%",
    "a=ä/A=in",
    "a=",
    "b.c=[1]",
)
VALUES = (None, "1", "2", None, "x y/+z", "100%", "in", "", None)


@pytest.mark.parametrize("more", [{}, {"view": pa.array(["v"] * 2, pa.string_view())}], ids=["by Spark", "by workers"])
def test_a_column_of_the_files_beside_keys_of_folders(run, tmp_path, more):
    """The files' own `h` is what is compared, beside folders of keys of all kinds; both ways of reading agree."""
    for number, folder in enumerate(FOLDERS):
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        rows = {"id": [2 * number, 2 * number + 1], "H": [f"{number:016x}"] * 2, "last": [folder] * 2}
        pq.write_table(pa.table(rows | more), tmp_path / "in" / folder / "x.parquet")
    result = run(tmp_path / "in", "--hash-col", "H", "--id-col", "id", "--threshold", "0")
    assert len(result.dropped) == len(FOLDERS)
    found = {row["last"]: (row["a"], row["b.c"]) for row in result.kept}
    assert found == {one: (a, "[1]" if "b.c" in one else None) for one, a in zip(FOLDERS, VALUES, strict=True)}
    assert result.kept[0].keys() == {"id", "H", "last", "a", "b.c"} | more.keys()


def test_a_key_of_every_folder_that_is_a_column_too(run, tmp_path):
    for number in range(6):
        (tmp_path / "in" / f"a={number % 2}" / "h=00ff").mkdir(parents=True, exist_ok=True)
        rows = pa.table({"id": [number], "h": [f"{number:04x}"]})
        pq.write_table(rows, tmp_path / "in" / f"a={number % 2}" / "h=00ff" / f"{number}.parquet")
    result = run(tmp_path / "in", "--hash-col", "h", "--id-col", "id", "--threshold", "0")
    assert sorted((row["id"], row["h"], row["a"]) for row in result.kept) == [
        (number, f"{number:04x}", f"{number % 2}") for number in range(6)
    ]


def test_other_files_are_counted(run, tmp_path):
    folder = write(tmp_path / "in", {"image": images(1, 2, 1)})
    (folder / "README.md").write_text("# mine")
    (folder / "00000_stats.json").write_text("{}")
    (folder / "part-0.parquet.bak").write_text("old")
    (folder / ".gitattributes").write_text("*")
    (folder / "part-1.parquet").write_bytes(b"")
    result = run(folder, *PIXELS)
    assert {reason: one["count"] for reason, one in result.summary["passed_over"].items()} == {
        "empty_file": 1,
        "hidden": 1,
        "other_format": 3,
    }
    with pytest.raises(UserError, match=r"--strict: passed over 1 hidden \(.*gitattributes\); 3 other_format"):
        run(folder, *PIXELS, "--strict")
