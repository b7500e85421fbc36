import bz2
import datetime as dt
import decimal
import gzip
import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.errors import CopyMismatch, UserError
from imgdedup_spark.files import json_lines
from imgdedup_spark.files import parquet as copying
from imgdedup_spark.files.copying import copy_pieces
from imgdedup_spark.files.parquet import owned_row_groups, write_empty_parquet
from imgdedup_spark.files.pieces import CopyResult, Piece


def uri(path):
    return "file:" + quote(str(path), safe="/é")


def whole(path, rows, first_row=0):
    return Piece(uri(path), 0, Path(path).stat().st_size, first_row, rows)


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
    """How each column is stored: types, levels, field ids (which `str` shows), codec, dictionary."""
    file = pq.ParquetFile(path)
    group = file.metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return str(file.schema).split("\n", 1)[1], [(c.compression, c.has_dictionary_page) for c in columns]


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
    result = copy_pieces("parquet", [whole(path, 10)], {0: np.array([8, 0, 3])}, out)
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
    assert result == CopyResult((10,), (7,), Path(out).stat().st_size)


def test_old_timestamps_stay_int96(tmp_path, out):
    path = tmp_path / "a.parquet"
    table = pa.table({"t": pa.array([0, -1, None, 10**18], pa.timestamp("ns")), "i": [1, 2, 3, 4]})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, store_schema=False)
    copy_pieces("parquet", [whole(path, 4)], {0: np.array([0])}, out)
    assert pq.ParquetFile(out).schema.column(0).physical_type == "INT96"
    assert pq.read_table(out).equals(pq.read_table(path).slice(1))


@pytest.mark.parametrize("by_spark", [True, False])
def test_old_timestamps_beyond_nanoseconds(tmp_path, out, by_spark):
    path = tmp_path / "a.parquet"
    years = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]
    metadata = {"org.apache.spark.version": "3.5.0"} if by_spark else {"x": "y"}
    schema = pa.schema([("t", pa.timestamp("us"))], metadata=metadata)
    options = {"use_deprecated_int96_timestamps": True, "store_schema": False}
    write(pa.table([years], schema=schema), path, **options)
    if by_spark:
        copy_pieces("parquet", [whole(path, 2)], {}, out)
        found = pq.ParquetFile(out, coerce_int96_timestamp_unit="us").read()
        assert found["t"].to_pylist() == years
    else:
        with pytest.raises(CopyMismatch, match="out of bounds"):
            copy_pieces("parquet", [whole(path, 2)], {}, out)


def test_what_pyarrow_would_store_differently_is_refused(tmp_path, out):
    path = tmp_path / "a.parquet"
    types = [("old", pa.timestamp("us")), ("new", pa.timestamp("us"))]
    pq.write_table(pa.table([[0], [0]], schema=pa.schema(types)), path)
    source = copying._ParquetSource(uri(path))
    # A file that has one of them as INT96 and the other not, which pyarrow cannot write.
    source._int96 = ["old"]
    with pytest.raises(CopyMismatch, match="INT96"):
        source.writer_options(source.schema)


def parquet_pieces(path, size):
    """The file cut every `size` bytes, with the rows of each piece."""
    metadata = pq.read_metadata(path)
    pieces, row = [], 0
    for start in range(0, Path(path).stat().st_size, size):
        rows = sum(metadata.row_group(g).num_rows for g in owned_row_groups(metadata, start, size))
        pieces.append(Piece(uri(path), start, size, row, rows))
        row += rows
    return pieces


@pytest.mark.parametrize("size", [100, 1000, 5000, 10**9])
def test_each_row_group_is_in_one_piece(tmp_path, out, size):
    path = tmp_path / "a.parquet"
    pq.write_table(awkward_table(100), path, row_group_size=9)
    pieces = parquet_pieces(path, size)
    assert sum(piece.rows for piece in pieces) == 100
    dropped = {index: np.arange(p.first_row, p.first_row + p.rows)[::2] for index, p in enumerate(pieces)}
    result = copy_pieces("parquet", pieces, dropped, out)
    left = sorted(set(range(100)) - set(np.concatenate(list(dropped.values())).tolist()))
    assert pq.read_table(out)["id"].to_pylist() == left
    assert sum(result.rows_out) == len(left)


def test_several_files_become_one_in_small_pieces_of_memory(tmp_path, out, monkeypatch):
    monkeypatch.setattr(copying, "_BATCH_BYTES", 1000)
    monkeypatch.setattr(copying, "_ROW_GROUP_BYTES", 5000)
    monkeypatch.setattr(copying, "_WHOLE_GROUP_BYTES", 100)
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    for path in paths:
        pq.write_table(awkward_table(50), path)
    copy_pieces("parquet", [whole(path, 50) for path in paths], {1: np.array([0])}, out)
    ids = pq.read_table(out)["id"].to_pylist()
    assert ids == list(range(50)) + list(range(1, 50))
    assert pq.read_metadata(out).num_row_groups > 2


def test_rows_that_are_not_sparks_are_refused(tmp_path, out):
    path = tmp_path / "a.parquet"
    pq.write_table(awkward_table(), path)
    other = tmp_path / "b.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    for pieces, dropped in (
        ([whole(path, 9)], {}),
        ([whole(path, 11)], {}),
        ([whole(path, 10, first_row=5)], {}),
        ([whole(path, 10)], {0: np.array([10])}),
        ([whole(path, 10)], {0: np.array([-1])}),
        ([whole(path, 10), whole(other, 1)], {}),
    ):
        with pytest.raises(CopyMismatch):
            copy_pieces("parquet", pieces, dropped, out)
    assert {found.name for found in tmp_path.rglob("*") if found.is_file()} == {"a.parquet", "b.parquet"}


def test_no_row_kept_no_file(tmp_path, out):
    path = tmp_path / "a.parquet"
    pq.write_table(awkward_table(), path)
    result = copy_pieces("parquet", [whole(path, 10)], {0: np.arange(10)}, out)
    assert result == CopyResult((10,), (0,), 0)
    assert not Path(out).exists()
    write_empty_parquet(uri(path), out, ["imagehash"])
    found = pq.read_table(out)
    assert found.num_rows == 0
    assert found.schema.names == [*awkward_table().schema.names, "imagehash"]
    copy_pieces("parquet", [whole(out, 0)], {}, out + "2")


def test_extra_columns(tmp_path, out):
    path = tmp_path / "a.parquet"
    field = {"name": "i", "type": "long", "nullable": True, "metadata": {}}
    spark = json.dumps({"type": "struct", "fields": [field]})
    features = json.dumps({"info": {"features": {"i": {"dtype": "int64", "_type": "Value"}}}})
    metadata = {"org.apache.spark.sql.parquet.row.metadata": spark, "huggingface": features}
    schema = pa.schema([("i", pa.int64())], metadata=metadata)
    pq.write_table(pa.table([list(range(6))], schema=schema), path, row_group_size=2)
    extra = pa.table({"imagehash": [f"h{i}" for i in range(6)], "texthash": [None, "t"] * 3})
    copy_pieces("parquet", [whole(path, 6)], {0: np.array([1, 2, 3])}, out, [extra])
    found = pq.read_table(out)
    assert found.to_pydict() == {
        "i": [0, 4, 5],
        "imagehash": ["h0", "h4", "h5"],
        "texthash": [None, None, "t"],
    }
    told = json.loads(found.schema.metadata[b"org.apache.spark.sql.parquet.row.metadata"])
    assert [f["name"] for f in told["fields"]] == ["i", "imagehash", "texthash"]
    assert "texthash" in json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
    with pytest.raises(UserError, match="imagehash"):
        copy_pieces("parquet", [whole(out, 3)], {}, out + "2", [extra.slice(0, 3)])


# JSON lines --------------------------------------------------------------------------


def json_pieces(data, path, size):
    """The file cut every `size` bytes, with the rows of each piece by the rule, looked at line by line."""
    path.write_bytes(data)
    begins, at = [], 0
    for line in data.split(b"\n"):
        if line.strip(b" \t\r\xef\xbb\xbf"):
            begins.append(at)
        at += len(line) + 1
    pieces, row = [], 0
    for start in range(0, len(data), size):
        rows = sum(start < b <= start + size or b == start == 0 for b in begins)
        pieces.append(Piece(uri(path), start, size, row, rows))
        row += rows
    assert row == len(begins)
    return pieces, [data[b:].split(b"\n")[0] + b"\n" for b in begins]


ODD_LINES = (
    b'\xef\xbb\xbf{"b": 1.10, "a": null}\n\n{"a":1e400}\r\n  \t\r\n {"a": "\xc3\xa9\\u00e9"} \n'
    b'{}\n{"a": [1, 2]}\nnot json\n\n\n{"b":12345678901234567890.0}'
)


@pytest.mark.parametrize("block", [1, 3, 7, 64, 10**6])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 30, 1000])
def test_lines_go_through_byte_for_byte_whatever_the_split(tmp_path, out, monkeypatch, size, block):
    monkeypatch.setattr(json_lines, "_BLOCK_BYTES", block)
    pieces, lines = json_pieces(ODD_LINES, tmp_path / "a b.jsonl", size)
    lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    result = copy_pieces("jsonl", pieces, {}, out)
    assert Path(out).read_bytes() == b"".join(lines)
    assert result.rows_out == tuple(piece.rows for piece in pieces)
    for piece in pieces:  # each by itself, too
        Path(out).unlink(missing_ok=True)
        copy_pieces("jsonl", [piece], {}, out)
        expected = b"".join(lines[piece.first_row : piece.first_row + piece.rows])
        assert (Path(out).read_bytes() if piece.rows else b"") == expected


def test_lines_are_dropped_by_number(tmp_path, out):
    data = b"".join(b'{"i":%d}\n' % i for i in range(1000))
    pieces, lines = json_pieces(data, tmp_path / "a.jsonl", 2000)
    rng = np.random.default_rng(0)
    gone = rng.random(1000) < 0.4
    numbers = np.flatnonzero(gone)
    dropped = {
        i: numbers[(numbers >= p.first_row) & (numbers < p.first_row + p.rows)][::-1] for i, p in enumerate(pieces)
    }
    copy_pieces("jsonl", pieces, dropped, out)
    assert Path(out).read_bytes() == b"".join(np.array(lines, object)[~gone])
    everything = {i: np.arange(p.first_row, p.first_row + p.rows) for i, p in enumerate(pieces)}
    Path(out).unlink()
    assert copy_pieces("jsonl", pieces, everything, out).bytes == 0
    assert not Path(out).exists()


@pytest.mark.parametrize("ending", ["gz", "bz2", "zst"])
def test_compressed_lines(tmp_path, out, ending):
    path = tmp_path / f"a.jsonl.{ending}"
    parts = [b'{"i":1}\n{"i":', b"2}\n"]  # two members, as `cat a.gz b.gz` makes them
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "zst": lambda part: pa.compress(part, "zstd", True)}[ending]
    path.write_bytes(b"".join(pack(part) for part in parts))
    copy_pieces("jsonl", [whole(path, 2)], {0: np.array([0])}, out)
    assert Path(out).read_bytes() == b'{"i":2}\n'
    piece = whole(path, 2)
    half = Piece(piece.uri, 0, piece.length // 2, 0, 1)
    with pytest.raises(CopyMismatch):
        copy_pieces("jsonl", [half], {}, out + "2")


def test_lines_that_are_not_sparks_rows_are_refused(tmp_path, out):
    path = tmp_path / "a.jsonl"
    for data, rows in (
        (b'{"a":1}\n', 2),
        (b'{"a":1}\n{"a":2}\n', 1),
        (b'[]\n[{"a":1},{"a":2}]\n', 2),  # two rows in two lines, by chance
        (b'  [{"a":1}]\n', 1),
        (b'{"a":1}\r{"a":2}\n', 1),
    ):
        path.write_bytes(data)
        with pytest.raises(CopyMismatch):
            copy_pieces("jsonl", [whole(path, rows)], {}, out)
    bad = tmp_path / "b.jsonl.gz"
    bad.write_bytes(b"not gzip")
    with pytest.raises(CopyMismatch):
        copy_pieces("jsonl", [whole(bad, 1)], {}, out)
    assert not list(Path(out).parent.glob("*"))


def test_extra_fields_leave_the_rest_of_the_line_alone(tmp_path, out):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"b": 1.10, "a": null}\r\n\n{ } \nnot json\n{"a":1e400}')
    extra = pa.table({"imagehash": ["h0", None, None, 'é"'], "texthash": ["t", None, "x", "u"]})
    copy_pieces("jsonl", [whole(path, 4)], {}, out, [extra])
    lines = Path(out).read_bytes().decode("utf-8").split("\n")
    assert lines == [
        '{"b": 1.10, "a": null, "imagehash": "h0", "texthash": "t"}\r',
        '{ "imagehash": null, "texthash": null} ',
        "not json",
        '{"a":1e400, "imagehash": "é\\"", "texthash": "u"}',
        "",
    ]
    with pytest.raises(UserError, match="field imagehash already"):
        copy_pieces("jsonl", [whole(out, 4)], {}, out + "2", [extra])


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
    settings = {"spark.sql.files.maxPartitionBytes": split_bytes, "spark.sql.files.openCostInBytes": 0}
    before = {name: spark.conf.get(name) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, str(value))
        reader = spark.read.schema("k long")
        frame = reader.parquet(str(tmp_path)) if kind == "parquet" else reader.json(str(tmp_path))
        where = [F.col(f"_metadata.{name}") for name in ("file_path", "file_block_start", "file_block_length")]
        found = frame.groupBy(*where).agg(F.min("k"), F.count("k")).orderBy("file_block_start").collect()
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)
    pieces = [Piece(*row) for row in found]
    assert split_bytes > 5000 or len(pieces) > 1
    for piece in pieces:
        numbers = np.arange(piece.first_row, piece.first_row + piece.rows)
        dropped = {0: numbers[1:]}
        copy_pieces(kind, [piece], dropped, out)
        if kind == "parquet":
            rows = pq.read_table(out)["k"].to_pylist()
        else:
            rows = [json.loads(line)["k"] for line in Path(out).read_text().splitlines()]
        assert rows == [piece.first_row]
