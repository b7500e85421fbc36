"""Columns whose pages are large are read a few values at a time, and are what pyarrow reads."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.files import parquet_batches, parquet_values, snappy
from imgdedup_spark.files.parquet_batches import BoundedFile
from imgdedup_spark.files.snappy import FarReference, SnappyStream

TYPES = [pa.binary(), pa.large_binary(), pa.string()]


def values(count, *, text=False):
    """Of every kind: missing, empty, repeated, packing well and not at all."""
    dice = random.Random(0)
    seen = []
    for _ in range(count):
        what = dice.randrange(6)
        if what < 2 or not seen:
            one = dice.randbytes(dice.randrange(1, 9000))
        else:
            one = [None, b"", b"pattern " * dice.randrange(4000), dice.choice(seen)][what - 2]
        seen.append(one)
    return [one.hex() if text and one is not None else one for one in seen]


@pytest.fixture
def small_bounds(monkeypatch):
    monkeypatch.setattr(parquet_values, "LARGE_PAGE", 1 << 10)
    monkeypatch.setattr(parquet_batches, "_BATCH_BYTES", 40_000)


@pytest.mark.parametrize("codec", ["NONE", "SNAPPY", "GZIP", "ZSTD", "BROTLI"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_all_that_pyarrow_reads_is_read(tmp_path, small_bounds, monkeypatch, codec, version, dictionary):
    asked = []
    real = parquet_values.Values.take
    monkeypatch.setattr(parquet_values.Values, "take", lambda *all_: asked.append(1) or real(*all_))
    count = 300
    image = values(count)
    table = pa.table(
        {
            "id": range(count),
            **{str(kind): pa.array(values(count, text=kind == pa.string()), kind) for kind in TYPES},
            "sure": pa.array([one or b"x" for one in image]),
            "image": [None if n % 9 == 4 else {"bytes": one, "path": f"{n}"} for n, one in enumerate(image)],
            "alone": [None if n % 9 == 4 else {"bytes": one} for n, one in enumerate(image)],
        }
    )
    fields = [field.with_nullable(field.name != "sure") for field in table.schema]
    table = table.cast(pa.schema(fields))
    pq.write_table(table, tmp_path / "a", row_group_size=170, compression=codec, data_page_version=version,
                   use_dictionary=dictionary, dictionary_pagesize_limit=1 << 17, write_batch_size=20,
                   data_page_size=1 << 14)  # fmt: skip
    for columns in (None, ["image"], ["binary"], ["id", "alone"]):
        with pa.OSFile(str(tmp_path / "a")) as stream:
            file = BoundedFile(stream)
            batches = [one for group in range(2) for one in file.bounded_batches(group, 64, columns)]
        expected = table if columns is None else table.select(columns)
        assert pa.Table.from_batches(batches).equals(expected)
        assert max(len(one) for one in batches) <= 64
        for skip in (1, 64, 119, 169, 170):
            with pa.OSFile(str(tmp_path / "a")) as stream:
                rest = list(BoundedFile(stream).bounded_batches(0, 64, columns, skip))
            assert pa.Table.from_batches(rest, expected.schema).equals(expected.slice(skip, 170 - skip))
    assert asked


def test_pages_that_are_passed_over_are_not_read(tmp_path, small_bounds, monkeypatch):
    opened = []
    real = parquet_values.Values._open
    monkeypatch.setattr(parquet_values.Values, "_open", lambda *all_: opened.append(1) or real(*all_))
    table = pa.table({"image": values(300)})
    pq.write_table(table, tmp_path / "a", use_dictionary=False, write_batch_size=20, data_page_size=1 << 10)
    found = {}
    for skip in (0, 290):
        opened.clear()
        with pa.OSFile(str(tmp_path / "a")) as stream:
            rest = pa.Table.from_batches(list(BoundedFile(stream).bounded_batches(0, 64, None, skip)))
        assert rest.equals(table.slice(skip))
        found[skip] = len(opened)
    assert found == {0: 15, 290: 1}


def test_pages_that_are_cut_are_an_arrow_error(tmp_path, small_bounds):
    pq.write_table(pa.table({"image": values(100)}), tmp_path / "a", use_dictionary=False, compression="NONE")
    data = bytearray((tmp_path / "a").read_bytes())
    data[2000:90_000] = b"\xff" * 88_000
    file = BoundedFile(pa.BufferReader(bytes(data)))
    with pytest.raises(pa.ArrowException):
        list(file.bounded_batches(0, 64))


@pytest.mark.parametrize("step", [1, 1000, 1 << 16, 3 << 20])
@pytest.mark.parametrize("dense", [0, 1 << 30], ids=["plain", "compiled"])
def test_snappy_in_pieces_is_snappy_at_once(step, dense, monkeypatch):
    monkeypatch.setattr(snappy, "_dense", dense)
    dice = np.random.default_rng(step)
    whole = dice.bytes(70_000) + b"abcab" * 30_000 + dice.integers(0, 3, 1 << 18).astype(np.uint8).tobytes()
    whole = whole if step > 1 else whole[69_000:73_000]
    packed = pa.BufferReader(pa.compress(whole, "snappy"))
    stream = SnappyStream(lambda size: packed.read(min(size, 777)))
    found = [stream.read(min(step, len(whole) - place)) for place in range(0, len(whole), step)]
    assert b"".join(found) == whole
    with pytest.raises(pa.ArrowInvalid):
        stream.read(1)


def test_snappy_that_reaches_out_of_its_pieces_or_is_cut():
    far = bytes([*b"\x80\x80\x08", 62 << 2, *b"\xfe\xff\x00", *bytes(65535), *([3, 255, 255, 0, 0] * 65537)])
    assert pa.decompress(far, 1 << 17, "snappy") == bytes(1 << 17)
    stream = SnappyStream(pa.BufferReader(far).read)
    assert stream.read(1 << 16) == bytes(1 << 16)
    with pytest.raises(FarReference):
        stream.read(1)
    for block in (far[:70], far[:60_000], b"\xff" * 20, b""):
        with pytest.raises((FarReference, pa.ArrowInvalid)):
            SnappyStream(pa.BufferReader(block).read).read(1 << 16)
