import bz2
import datetime as dt
import decimal
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import spark_settings

from imgdedup_spark.errors import CopyMismatch, UserError
from imgdedup_spark.files import parquet, storage, text_lines
from imgdedup_spark.files.json_lines import copy_json_lines
from imgdedup_spark.files.parquet import copy_parquet, row_groups, write_empty_parquet
from imgdedup_spark.files.shares import Share, grouped

NONE = np.array([], np.int64)


def whole(path, rows, first_row=0):
    return Share(f"file:{path}", first_row, rows)


def whole_text(path, rows):
    return Share(f"file:{path}", 0, rows, 0, Path(path).stat().st_size)


def awkward_table(rows=10):
    """A row group's worth of every type that tables in the wild have, with nulls."""

    def some(values, type_):
        return pa.array([None if i % 4 == 3 else values[i % len(values)] for i in range(rows)], type_)

    day = dt.datetime(2020, 1, 2, 3, 4, 5, 678901)
    cents = [decimal.Decimal("1.10"), decimal.Decimal("-9.99")]
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = {
        "id": pa.array(range(rows), pa.int64()),
        "image": some([{"bytes": b"\xff\xd8x", "path": None}, {"bytes": None, "path": "é.jpg"}], picture),
        "u8": some([0, 255], pa.uint8()),
        "u32": some([2**32 - 1], pa.uint32()),
        "u64": some([2**64 - 1], pa.uint64()),
        "i16": some([-5], pa.int16()),
        "half": pa.array(np.arange(rows), pa.float16()),
        "nan": some([float("nan"), -0.0], pa.float64()),
        "flag": some([True, False], pa.bool_()),
        "small": some(cents, pa.decimal128(9, 2)),
        "wide": some(cents, pa.decimal128(38, 18)),
        "wider": some(cents, pa.decimal256(60, 3)),
        "date": some([day.date()], pa.date32()),
        "time": some([day.time()], pa.time64("us")),
        "ms": some([day.replace(microsecond=0)], pa.timestamp("ms")),
        "us_utc": some([day], pa.timestamp("us", "UTC")),
        "ns": some([1, -1], pa.timestamp("ns")),
        "span": some([1], pa.duration("us")),
        "name é.x": some(["Zürich", ""], pa.string()),
        "large": some(["a" * 50], pa.large_string()),
        "fixed": some([b"abcd"], pa.binary(4)),
        "kind": pa.array(["cat", "dog"] * (rows // 2)).dictionary_encode(),
        "list": some([[1, None], [], [2]], pa.list_(pa.int32())),
        "lists": some([[[1], []], [None]], pa.list_(pa.list_(pa.int8()))),
        "vector": some([[1.0, 2.0]], pa.list_(pa.float32(), 2)),
        "map": some([[("a", 1), ("b", None)], []], pa.map_(pa.string(), pa.int32())),
        "nested": some([{"a": [{"b": "x"}]}], pa.struct([("a", pa.list_(pa.struct([("b", pa.string())])))])),
        "nothing": pa.nulls(rows),
    }
    schema = pa.schema(
        [pa.field("id", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "7"})]
        + [pa.field(name, array.type) for name, array in list(fields.items())[1:]],
        metadata={"huggingface": '{"info": {"features": {}}}', "é": "ü"},
    )
    return pa.table(list(fields.values()), schema=schema)


def write(table, path, row_group_size=None, **options):
    """As other writers do: the metadata goes in with pyarrow's own schema or without."""
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(table, row_group_size)
        if not options.get("store_schema", True):
            writer.add_key_value_metadata(table.schema.metadata)


def leaves(path):
    """How each column is stored: types, levels, field ids (which `str` shows), codec."""
    file = pq.ParquetFile(path)
    group = file.metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return str(file.schema).split("\n", 1)[1], [c.compression for c in columns]


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "out" / "part 0.bin")


# Parquet -----------------------------------------------------------------------------

WRITERS = {
    "plain": {},
    "none": {"compression": "none", "use_dictionary": False},
    "mixed": {"compression": {"id": "zstd", "image.bytes": "none"}, "use_dictionary": ["kind"]},
    "old": {"use_compliant_nested_type": False, "store_decimal_as_integer": True},
    "bare": {"store_schema": False, "data_page_version": "2.0", "write_page_index": True},
}


@pytest.mark.parametrize("options", WRITERS.values(), ids=WRITERS.keys())
def test_every_type_goes_through_as_it_is(tmp_path, out, options):
    path = tmp_path / "a b%20é#.parquet"
    write(awkward_table(), path, row_group_size=4, **options)
    assert copy_parquet([whole(path, 10)], [np.array([8, 0, 3])], out) == 7
    expected = pq.read_table(path)
    keep = [i for i in range(10) if i not in (0, 3, 8)]
    found = pq.read_table(out)
    assert found.schema.equals(expected.schema, check_metadata=True)
    # Compared as text because NaN is not equal to itself.
    assert [str(row) for row in found.to_pylist()] == [str(row) for row in expected.take(keep).to_pylist()]
    # pyarrow's own entry depends on how the names inside of lists came about; it was compared as a schema.
    metadata = [{k: v for k, v in pq.read_metadata(p).metadata.items() if k != b"ARROW:schema"} for p in (out, path)]
    assert metadata[0] == metadata[1] != {}
    assert leaves(out) == leaves(path)


def test_spark_s_old_timestamps_stay_int96_of_any_year(tmp_path, out):
    path = tmp_path / "a.parquet"
    times = [dt.datetime(1, 1, 1), None, dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]
    options = {"use_deprecated_int96_timestamps": True, "store_schema": False}
    for metadata in ({"org.apache.spark.version": "3.5.0"}, {"x": "y"}):
        schema = pa.schema([("t", pa.timestamp("us")), ("i", pa.int64())], metadata=metadata)
        write(pa.table([times, [1, 2, 3]], schema=schema), path, **options)
        if "x" in metadata:  # nanoseconds, maybe, which do not reach these years
            with pytest.raises(CopyMismatch, match="INT96"):
                copy_parquet([whole(path, 3)], [NONE], out + "2")
        else:
            copy_parquet([whole(path, 3)], [np.array([1])], out)
            assert pq.ParquetFile(out).schema.column(0).physical_type == "INT96"
            found = pq.ParquetFile(out, coerce_int96_timestamp_unit="us").read()
            assert found["t"].to_pylist() == [times[0], times[2]]


def test_what_pyarrow_would_store_differently_is_refused(tmp_path, out):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"kind": ["x"]}), path, store_schema=False)
    # Thrift for a column of strings, made one of an enumeration: bytes to pyarrow, strings to Spark.
    string, enumeration = b"kind\x25\x00\x4c\x1c\x00\x00", b"kind\x25\x08\x4c\x4c\x00\x00"
    assert string in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(string, enumeration))
    with pytest.raises(CopyMismatch, match=r"column kind .*Enum.* would become"):
        copy_parquet([whole(path, 1)], [NONE], out)
    with pytest.raises(CopyMismatch, match=r"column kind .*Enum.* would become"):
        write_empty_parquet(str(path), out, pa.schema([]))
    path.write_bytes(b"PAR1 no Parquet PAR1")
    with pytest.raises(CopyMismatch, match="cannot be copied"):
        copy_parquet([whole(path, 1)], [NONE], out)
    assert not list(Path(out).parent.glob("*"))


@pytest.mark.parametrize("size", [100, 1000, 5000, 10**9])
def test_shares_of_row_groups(tmp_path, out, size):
    path = tmp_path / "a b%20é#.parquet"
    pq.write_table(awkward_table(100), path, row_group_size=9)
    groups = row_groups(pq.read_metadata(path))
    assert [group[:2] for group in groups] == [(first, min(9, 100 - first)) for first in range(0, 100, 9)]
    parts = list(grouped(groups, lambda group: group[2], size))
    assert len(parts) == (1 if size == 10**9 else len(parts)) and sum(len(part) for part in parts) == len(groups)
    shares = [Share(str(path), part[0][0], sum(rows for _, rows, _ in part)) for part in parts]
    dropped = [np.arange(share.first_row, share.first_row + share.rows)[::2] for share in shares]
    left = sorted(set(range(100)) - set(np.concatenate(dropped).tolist()))
    assert copy_parquet(shares, dropped, out) == len(left)
    assert pq.read_table(out)["id"].to_pylist() == left


def test_several_files_become_one_in_small_pieces_of_memory(tmp_path, out, monkeypatch):
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 1000)
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 5000)
    monkeypatch.setattr(parquet, "_WHOLE_GROUP_BYTES", 100)
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    for path in paths:
        table = awkward_table(50)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"name": path.name}), path)
    assert copy_parquet([whole(path, 50) for path in paths], [NONE, np.array([0])], out) == 99
    found = pq.read_table(out)
    assert found["id"].to_pylist() == list(range(50)) + list(range(1, 50))
    assert found.schema.equals(pq.read_schema(paths[0]), check_metadata=True)
    assert pq.read_metadata(out).num_row_groups > 2


def test_row_groups_of_no_kept_row_are_not_read(tmp_path, out, monkeypatch):
    path = tmp_path / "a.parquet"
    pq.write_table(awkward_table(40), path, row_group_size=10)
    read = []
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda file, rows, row_groups, **options: (
            read.extend(row_groups) or batches(file, rows, row_groups=row_groups, **options)
        ),
    )
    dropped = np.array([*range(10), *range(20, 30), 35])
    assert copy_parquet([whole(path, 40)], [dropped], out) == 19
    assert read == [1, 3]
    assert pq.read_table(out)["id"].to_pylist() == sorted(set(range(40)) - set(dropped.tolist()))


def test_large_values_get_neither_dictionary_nor_statistics(tmp_path, out):
    """A writer that makes them holds each value several times; of small ones they are worth having."""
    values = [bytes([number]) * 20_000 for number in range(40)]
    table = pa.table({"id": [f"{n % 5}" for n in range(40)], "image": [{"bytes": one, "path": "a"} for one in values]})
    pq.write_table(table, tmp_path / "a", compression="none")
    assert copy_parquet([whole(tmp_path / "a", 40)], [NONE], out) == 40
    assert pq.read_table(out).equals(table)
    group = pq.read_metadata(out).row_group(0)
    about = {group.column(n).path_in_schema: group.column(n) for n in range(3)}
    assert [one.has_dictionary_page for one in about.values()] == [True, False, True]
    assert [one.is_stats_set for one in about.values()] == [True, False, True]


def test_rows_that_are_not_there_are_refused(tmp_path, out):
    path = tmp_path / "a.parquet"
    pq.write_table(awkward_table(20), path, row_group_size=10)
    other = tmp_path / "b.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    for shares, *dropped in (
        ([whole(path, 19)], NONE),
        ([whole(path, 21)], NONE),
        ([whole(path, 10, first_row=5)], NONE),
        ([whole(path, 10, first_row=20)], NONE),
        ([whole(path, 10)], [10]),
        ([whole(path, 10, first_row=10)], [9]),
        ([whole(path, 20)], [-1]),
        ([whole(path, 20), whole(other, 1)], NONE, NONE),
    ):
        with pytest.raises(CopyMismatch):
            copy_parquet(shares, dropped, out)
    assert {found.name for found in tmp_path.rglob("*") if found.is_file()} == {"a.parquet", "b.parquet"}


def test_no_row_kept_no_file(tmp_path, out):
    path = tmp_path / "a b%20é#.parquet"
    pq.write_table(awkward_table(), path)
    assert copy_parquet([whole(path, 10)], [np.arange(10)], out) == 0
    assert not Path(out).exists()
    write_empty_parquet(str(path), out, pa.schema([("imagehash", pa.string()), ("score", pa.float64())]))
    found = pq.read_table(out)
    assert found.num_rows == 0
    assert found.schema.names == [*awkward_table().schema.names, "imagehash", "score"]
    assert found.schema.metadata[b"\xc3\xa9"] == b"\xc3\xbc"
    assert "imagehash" in json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
    assert copy_parquet([whole(out, 0)], [NONE], out + "2") == 0


def test_extra_columns(tmp_path, out):
    path = tmp_path / "a.parquet"
    field = {"name": "i", "type": "long", "nullable": True, "metadata": {}}
    spark = json.dumps({"type": "struct", "fields": [field]})
    features = json.dumps({"info": {"features": {"i": {"dtype": "int64", "_type": "Value"}}}})
    metadata = {"org.apache.spark.sql.parquet.row.metadata": spark, "huggingface": features}
    schema = pa.schema([("i", pa.int64())], metadata=metadata)
    pq.write_table(pa.table([list(range(6))], schema=schema), path, row_group_size=2)
    extra = pa.table({"imagehash": [f"h{i}" for i in range(6)], "texthash": [None, "t"] * 3, "score": [0.5] * 6})
    copy_parquet([whole(path, 6)], [np.array([1, 2, 3])], out, [extra])
    found = pq.read_table(out)
    assert found.to_pydict() == {
        "i": [0, 4, 5],
        "imagehash": ["h0", "h4", "h5"],
        "texthash": [None, None, "t"],
        "score": [0.5] * 3,
    }
    told = json.loads(found.schema.metadata[b"org.apache.spark.sql.parquet.row.metadata"])
    assert [f["name"] for f in told["fields"]] == ["i", "imagehash", "texthash", "score"]
    assert told["fields"][3]["type"] == "double"
    features = json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
    assert [features[name]["dtype"] for name in ("texthash", "score")] == ["string", "float64"]
    with pytest.raises(UserError, match="imagehash"):
        copy_parquet([whole(out, 3)], [NONE], out + "2", [extra.slice(0, 3)])


def test_items_are_grouped_by_size():
    def groups(sizes):
        return list(grouped(iter(sizes), lambda size: size, 10))

    assert groups([]) == []
    assert groups([4, 6, 1, 10, 11, 0, 5]) == [[4, 6], [1], [10], [11], [0, 5]]


# JSON lines --------------------------------------------------------------------------


def json_shares(data, path, size):
    """The file cut every `size` bytes, with the rows of each share by the rule, looked at line by line."""
    path.write_bytes(data)
    begins, at = [], 0
    for line in data.split(b"\n"):
        if line.strip(b" \t\r\xef\xbb\xbf"):
            begins.append(at)
        at += len(line) + 1
    shares, row = [], 0
    for start in range(0, len(data), size):
        rows = sum(start < b <= start + size or b == start == 0 for b in begins)
        shares.append(Share(f"file:{path}", row, rows, start, size))
        row += rows
    assert row == len(begins)
    return shares, [data[b:].split(b"\n")[0] + b"\n" for b in begins]


ODD_LINES = (
    b'\xef\xbb\xbf{"b": 1.10, "a": null}\n\n{"a":1e400}\r\n  \t\r\n {"a": "\xc3\xa9\\u00e9"} \n'
    b'{}\n{"a": [1, 2]}\nnot json\n\n\n{"b":12345678901234567890.0}'
)


@pytest.mark.parametrize("block", [1, 3, 7, 64, 10**6])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 30, 1000])
def test_lines_go_through_byte_for_byte_whatever_the_split(tmp_path, out, monkeypatch, size, block):
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", block)
    shares, lines = json_shares(ODD_LINES, tmp_path / "a b%20é#.jsonl", size)
    lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    assert copy_json_lines(shares, [NONE] * len(shares), out) == len(lines)
    assert Path(out).read_bytes() == b"".join(lines)
    for share in shares:  # each by itself, too
        Path(out).unlink(missing_ok=True)
        assert copy_json_lines([share], [NONE], out) == share.rows
        expected = b"".join(lines[share.first_row : share.first_row + share.rows])
        assert (Path(out).read_bytes() if share.rows else b"") == expected


def test_lines_are_dropped_by_number(tmp_path, out):
    data = b"".join(b'{"i":%d}\n' % i for i in range(1000))
    shares, lines = json_shares(data, tmp_path / "a.jsonl", 2000)
    rng = np.random.default_rng(0)
    gone = rng.random(1000) < 0.4
    numbers = np.flatnonzero(gone)
    dropped = [numbers[(numbers >= one.first_row) & (numbers < one.first_row + one.rows)][::-1] for one in shares]
    assert copy_json_lines(shares, dropped, out) == (~gone).sum()
    assert Path(out).read_bytes() == b"".join(np.array(lines, object)[~gone])
    everything = [np.arange(one.first_row, one.first_row + one.rows) for one in shares]
    Path(out).unlink()
    assert copy_json_lines(shares, everything, out) == 0
    assert not Path(out).exists()


@pytest.mark.parametrize("ending", ["gz", "bz2", "zst"])
def test_compressed_lines(tmp_path, out, ending):
    path = tmp_path / f"a.jsonl.{ending}"
    parts = [b'{"i":1}\n{"i":', b"2}\n"]  # two members, as `cat a.gz b.gz` makes them
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "zst": lambda part: pa.compress(part, "zstd", True)}[ending]
    path.write_bytes(b"".join(pack(part) for part in parts))
    share = whole_text(path, 2)
    assert copy_json_lines([share], [np.array([0])], out) == 1
    assert Path(out).read_bytes() == b'{"i":2}\n'
    with pytest.raises(CopyMismatch):
        copy_json_lines([Share(share.uri, 0, 1, 0, share.length // 2)], [NONE], out + "2")


def test_other_numbers_of_rows_are_refused(tmp_path, out):
    path = tmp_path / "a.jsonl"
    for data, rows in (
        (b'{"a":1}\n', 2),
        (b'{"a":1}\n{"a":2}\n', 1),
        (b'[]\n[{"a":1},{"a":2}]\n', 2),  # no element, and a line that is no row
        (b'  [{"a":1}]\n', 2),
        (b'{"a":1}\r{"a":2}\n', 1),
    ):
        path.write_bytes(data)
        with pytest.raises(CopyMismatch):
            copy_json_lines([whole_text(path, rows)], [NONE], out)
    bad = tmp_path / "b.jsonl.gz"
    bad.write_bytes(b"not gzip")
    with pytest.raises(OSError, match="incorrect header check"):
        copy_json_lines([whole_text(bad, 1)], [NONE], out)
    assert not list(Path(out).parent.glob("*"))


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'[{"a": 1.10}, {"a":1e400}]', [b'{"a": 1.10}', b'{"a":1e400}']),
        (b'\xef\xbb\xbf\n [\n  {\n    "a": "x\\ny"\n  },\r\n  3\n]\n', [b'{ "a": "x\\ny" }', b"3"]),
        (b'[{"a": "\xff"}, {"b": 2}', [b'{"a": "\xff"}', b'{"b": 2}']),
        (b'[{"a": 1}, {"b":\n "cut', [b'{"a": 1}', b'{"b": "cut']),
        (b'[1]\n{"a": 2}\n', [b"1", b'{"a": 2}']),
        (b" [ ] ", []),
    ],
)
def test_elements_of_an_array_are_lines(tmp_path, out, data, rows):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert copy_json_lines([whole_text(path, len(rows))], [NONE], out) == len(rows)
    assert not rows or Path(out).read_bytes() == b"\n".join(rows) + b"\n"


def test_extra_fields_leave_the_rest_of_the_line_alone(tmp_path, out):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"b": 1.10, "a": null}\r\n\n{ } \nnot json\n{"a":1e400}')
    extra = pa.table({"imagehash": ["h0", None, None, 'é"'], "texthash": ["t", None, "x", "u"]})
    copy_json_lines([whole_text(path, 4)], [NONE], out, [extra])
    lines = Path(out).read_bytes().decode("utf-8").split("\n")
    assert lines == [
        '{"b": 1.10, "a": null, "imagehash": "h0", "texthash": "t"}\r',
        '{ "imagehash": null, "texthash": null} ',
        "not json",
        '{"a":1e400, "imagehash": "é\\"", "texthash": "u"}',
        "",
    ]
    with pytest.raises(UserError, match="field imagehash already"):
        copy_json_lines([whole_text(out, 4)], [NONE], out + "2", [extra])


# Spark's own pieces ------------------------------------------------------------------


@pytest.mark.spark
@pytest.mark.parametrize("split_bytes", [37, 300, 5000, 10**9])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_pieces_are_those_that_spark_reads(spark, tmp_path, out, kind, split_bytes):
    from pyspark.sql import functions as F

    path = tmp_path / f"a b%é.{kind}"
    if kind == "parquet":
        split_bytes = max(split_bytes, 300)
        pq.write_table(pa.table({"k": range(200), "s": [f"{i}" * 9 for i in range(200)]}), path, row_group_size=7)
    else:
        ends = ["\n", "\r\n", "\n\n", " \n", "\n\t\r\n"]
        text = "".join(" " * (i % 3) + f'{{"k":{i}}}' + ends[i % 5] for i in range(200))
        path.write_bytes(b"\xef\xbb\xbf" + text.encode().rstrip())
    pieces = {"spark.sql.files.maxPartitionBytes": str(split_bytes), "spark.sql.files.openCostInBytes": "0"}
    with spark_settings(spark, pieces):
        reader = spark.read.schema("k long")
        frame = reader.parquet(str(tmp_path)) if kind == "parquet" else reader.json(str(tmp_path))
        where = [F.col(f"_metadata.{name}") for name in ("file_path", "file_block_start", "file_block_length")]
        found = frame.groupBy(*where).agg(F.min("k"), F.count("k")).orderBy("file_block_start").collect()
    assert split_bytes > 5000 or len(found) > 1
    for file, start, length, first_row, count in found:
        share = Share(storage.from_spark(file), first_row, count, start, length)
        if kind == "parquet":
            borders = {first for first, *_ in row_groups(pq.read_metadata(path))} | {200}
            assert {first_row, first_row + count} <= borders
        copy = copy_parquet if kind == "parquet" else copy_json_lines
        assert copy([share], [np.arange(first_row + 1, first_row + count)], out) == 1
        if kind == "parquet":
            rows = pq.read_table(out)["k"].to_pylist()
        else:
            rows = [json.loads(line)["k"] for line in Path(out).read_text().splitlines()]
        assert rows == [first_row]
