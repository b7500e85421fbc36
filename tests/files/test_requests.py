"""How often a store is asked: each answer takes its time."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from imgdedup_spark.files import parquet_column, storage
from imgdedup_spark.files.parquet import copy_parquet
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.files.shares import Share

ROWS, URI = 60, "s3a://lake/rows.parquet"
_RANDOM = np.random.default_rng(0)
TABLE = pa.table({"id": range(ROWS), "image": [_RANDOM.bytes(100_000) for _ in range(ROWS)]})


class Store:
    """One file, and the (first byte, bytes) that it was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked = content, []

    def open_input_file(self, _path):
        store = self

        class Asked(io.BytesIO):
            def read(self, size=-1):
                store.asked.append((self.tell(), size))
                return super().read(size)

        return pa.PythonFile(Asked(self.content), mode="r")


@pytest.fixture
def store(monkeypatch):
    """A table of three row groups, whose values have a page each."""
    content = io.BytesIO()
    pq.write_table(TABLE, content, row_group_size=ROWS // 3, data_page_size=1)
    store, real = Store(content.getvalue()), storage.open_fs
    monkeypatch.setattr(storage, "open_fs", lambda uri: (store, uri) if uri == URI else real(uri))
    return store


def test_a_column_of_a_row_group_is_one_request(store, monkeypatch):
    monkeypatch.setattr(parquet_column, "_WHOLE_BYTES", 0)  # larger ones are streamed from a disk
    place = pa.StructArray.from_arrays([pa.array([URI] * ROWS), pa.array(range(ROWS), pa.int64())], ["file", "row"])
    values = [value for _, part in ColumnReader("image").read(place) for value in part.to_pylist()]
    assert values == TABLE["image"].to_pylist()
    assert len(store.asked) == 1 + 3  # the footer, and each row group


def test_a_row_group_is_copied_by_one_request(store, tmp_path):
    copied = copy_parquet([Share(URI, 0, ROWS)], [np.array([7])], f"file:{tmp_path}/out.parquet")
    assert copied == ROWS - 1
    kept = pq.read_table(tmp_path / "out.parquet", filesystem=fs.LocalFileSystem())
    assert kept.equals(TABLE.filter(np.arange(ROWS) != 7))
    assert len(store.asked) == 1 + 3
