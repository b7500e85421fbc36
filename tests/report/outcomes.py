"""Outcomes as a run would write them, built by hand."""

from __future__ import annotations

import pyarrow as pa

from imgdedup_spark.report.outcome import Outcome

DUPLICATES = pa.schema(
    [("id", pa.string()), ("kept_id", pa.string()), ("distance", pa.float64()), ("similarity", pa.float64()),
     ("reason", pa.string())]
)  # fmt: skip
ERRORS = pa.schema(
    [("id", pa.string()), ("position", pa.int32()), ("error", pa.string()), ("message", pa.string()),
     ("level", pa.string())]
)  # fmt: skip


def hashes(rows):
    """(id, imagehash, width, height, quality) of each row."""
    return pa.table(
        {
            "id": pa.array([one[0] for one in rows], pa.string()),
            "imagehash": pa.array([one[1] for one in rows], pa.string()),
            "texthash": pa.nulls(len(rows), pa.string()),
            "width": pa.array([one[2] for one in rows], pa.int32()),
            "height": pa.array([one[3] for one in rows], pa.int32()),
            "bytes": pa.array([100 * (number + 1) for number in range(len(rows))], pa.int64()),
            "quality": pa.array([one[4] for one in rows], pa.int32()),
        }
    )


def outcome(rows, dropped=(), errors=(), **more):
    """Args:
    dropped: (id, kept_id, distance) of each, and the reason where it is not told by the distance.
    errors: (id, position, code, message, level) of each.
    more: options of the run.
    """
    lines = [
        (one, kept, float(distance), None, *(reason or ["near_hash" if distance else "same_hash"]))
        for one, kept, distance, *reason in dropped
    ]
    failed = {one[0] for one in errors if one[4] == "error"}
    gone = len(failed) if more.get("on_error") == "drop" else 0
    sizes = [sum(one[1] == kept for one in dropped) for kept in {one[1] for one in dropped}]
    summary = {
        "rows_in": len(rows), "rows_kept": len(rows) - len(dropped) - gone, "rows_dropped": len(dropped),
        "rows_dropped_on_error": gone, "rows_with_errors": len(failed), "images": len(rows), "groups": len(sizes),
        "largest_group": max(sizes, default=-1) + 1, "passed_over": {}, "stages": {"hash": {"seconds": 1.5, "rows": 3}},
        "config": {"method": "phash", "hash_size": 8, "threshold": 8, "on_error": "keep", "stages": [], **more},
        "versions": {"imgdedup-spark": "1"},
    }  # fmt: skip
    return Outcome.of(_table(lines, DUPLICATES), hashes(rows), _table(errors, ERRORS), summary)


def _table(rows, schema):
    return pa.Table.from_pylist([dict(zip(schema.names, one, strict=True)) for one in rows], schema)


def example(**more):
    """Three rows of one group, one row just beyond the threshold, one flat, one unreadable."""
    rows = [
        ("a", "00000000000000ff", 100, 80, 90),
        ("b", "00000000000000fe", 200, 160, 90),
        ("c", "00000000000000ff", 100, 80, 90),
        ("d", "000000000000ff00", 64, 64, 90),
        ("e", "0000000000ffffff", 64, 64, 3),
        ("f", None, None, None, None),
    ]
    errors = [("f", 0, "truncated", "the file ends early", "error"), ("b", 0, "odd_end", "more behind it", "warning")]
    return outcome(rows, [("b", "a", 1), ("c", "a", 0)], errors, **more)
