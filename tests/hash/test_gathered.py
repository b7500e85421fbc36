"""Prints gathered in the driver, as far as they are few."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from imgdedup_spark.hash import small


def test_what_repeats_is_measured_as_it_lies_in_memory(tmp_path, monkeypatch):
    pq.write_table(pa.table({"vector": [bytes(2048)] * 1000}), tmp_path / "part-0.parquet")
    assert (tmp_path / "part-0.parquet").stat().st_size < 100_000
    monkeypatch.setattr(small, "MOST_BYTES", 3_000_000)
    assert small.read_prints(str(tmp_path)).num_rows == 1000
    monkeypatch.setattr(small, "MOST_BYTES", 1_000_000)
    assert small.read_prints(str(tmp_path)) is None


def test_tables_are_let_go_of_once_they_are_many(monkeypatch):
    monkeypatch.setattr(small, "MOST_ROWS", 5)
    gathered = small.Gathered()
    assert gathered.whole is None
    for _ in range(2):
        gathered.add(pa.table({"n": [1, 2]}))
    assert gathered.whole.column("n").to_pylist() == [1, 2, 1, 2]
    gathered.add(pa.table({"n": [1, 2]}))
    gathered.add(pa.table({"n": [1]}))
    assert gathered.whole is None


def test_what_the_driver_does_not_hold_leaves_nothing_whole():
    gathered = small.Gathered()
    gathered.add(None)
    gathered.add(pa.table({"n": [1]}))
    assert gathered.whole is None
