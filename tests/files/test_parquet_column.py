"""Reading a column by place: whatever the pieces and the batches, the values are the rows'."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.files.parquet import owned_row_groups
from imgdedup_spark.files.parquet_column import ColumnReader


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a b.parquet"
    values = [f"value {number}" * (number % 7) if number % 5 else None for number in range(500)]
    pq.write_table(pa.table({"x": range(500), "image": values}), path, row_group_size=37)
    return path, values


def places(path, rows):
    """(start, rows) pairs → the struct column that Spark would give, as batches of up to 25 rows."""
    size = path.stat().st_size
    uri = f"file:{path}".replace(" ", "%20")
    flat = [(uri, start, min(length, size - start), row) for start, length, numbers in rows for row in numbers]
    for first in range(0, len(flat), 25):
        part = flat[first : first + 25]
        yield pa.StructArray.from_arrays(
            [pa.array([one[index] for one in part]) for index in range(4)], names=["file", "start", "length", "row"]
        )


@pytest.mark.parametrize("split", [200, 1000, 1 << 30])
def test_pieces_of_any_size(file, split):
    path, values = file
    metadata = pq.read_metadata(path)
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    rows = []
    for start in range(0, path.stat().st_size, split):
        numbers = [row for g in owned_row_groups(metadata, start, split) for row in range(starts[g], starts[g + 1])]
        rows.append((start, split, numbers))
    reader = pickle.loads(pickle.dumps(ColumnReader("image")))
    found = []
    for place in places(path, rows):
        portions = list(reader.read(place))
        assert [first for first, _ in portions] == np.cumsum([0, *[len(part) for _, part in portions[:-1]]]).tolist()
        found += [value for _, part in portions for value in part.to_pylist()]
    assert found == values


def test_a_file_that_changed_is_found_out(file):
    path, _ = file
    with pytest.raises(ValueError, match="did the file change"):
        [list(ColumnReader("image").read(place)) for place in places(path, [(0, 1 << 30, range(501))])]
    with pytest.raises(ValueError, match="out of order"):
        [list(ColumnReader("image").read(place)) for place in places(path, [(0, 1 << 30, [3, 2])])]
