"""Prints gathered in the driver, as far as they are few."""

from __future__ import annotations

import pyarrow as pa

from imgdedup_spark.hash import small


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
