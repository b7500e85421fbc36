"""Splits in the driver: every row with a partner in another one is found, whatever stays of either."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from split_cases import THRESHOLD, chains, check_pair, matrix

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.hashes import ReadyHashes
from imgdedup_spark.hash.tallies import Tally
from imgdedup_spark.splits import Split, _at_once

KIND = ReadyHashes(DedupConfig(hash_col="hash", text_col="text", threshold=THRESHOLD), size=16)
ERRORS = pa.list_(pa.struct(dict.fromkeys(("error", "message", "level"), pa.string()) | {"position": pa.int32()}))


def split_of(name, rows):
    ids, hashes, texts = zip(*rows, strict=True)
    count = len(rows)
    table = pa.table(
        {
            "id": pa.array(ids),
            "order": pa.array(range(100, 100 + count), pa.int64()),
            "images": pa.array([1] * count, pa.int32()),
            "imagehash": pa.array(hashes),
            "texthash": pa.array([32 * text for text in texts]),
            "flat": pa.nulls(count, pa.string()),
            "errors": pa.array([[]] * count, ERRORS),
        }
    )
    return Split(name, None, KIND, Tally(count), table)


@pytest.mark.parametrize("seed", range(3))
def test_every_row_with_a_partner_is_counted(seed):
    rows = {"train": chains(1 + seed, 150), "val": chains(11 + seed, 60), "test": chains(21 + seed, 60)}
    splits = {name: split_of(name, some) for name, some in rows.items()}
    by_id = {row[0]: row for some in rows.values() for row in some}
    found = {name: {other: _at_once(one, there) for other, there in splits.items()} for name, one in splits.items()}
    assert {name: {other: len(table) for other, table in tables.items()} for name, tables in found.items()} == matrix(
        rows
    )
    for name, tables in found.items():
        for other, table in tables.items():
            for pair in table.to_pylist():
                others = rows[other] if name != other else None
                check_pair(by_id[pair["id"]], by_id[pair["other_id"]], pair, others)


def test_unreadable_rows_are_nobody_s_partner():
    rows = chains(1, 3)
    one = split_of("one", rows)
    error = {"position": 0, "error": "corrupt", "message": "", "level": "error"}
    broken = one.table.set_column(one.table.column_names.index("errors"), "errors", pa.array([[error]] * 3, ERRORS))
    assert len(_at_once(one, replace(one, table=broken))) == len(_at_once(replace(one, table=broken), one)) == 0
    assert len(_at_once(one, replace(one))) == 3
