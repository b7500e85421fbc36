"""Reading a column by place: whatever the pieces and the batches, the values are the rows'."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.files import parquet_values
from imgdedup_spark.files.parquet_column import ColumnReader


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a b.parquet"
    values = [f"value {number}" * (number % 7) if number % 5 else None for number in range(500)]
    pq.write_table(pa.table({"x": range(500), "image": values}), path, row_group_size=37)
    return path, values


def places(path, rows):
    """The struct column that Spark would give for these rows of the file, as batches of up to 25."""
    uri = f"file:{path}".replace(" ", "%20")
    for first in range(0, len(rows), 25):
        part = rows[first : first + 25]
        yield pa.StructArray.from_arrays([pa.array([uri] * len(part)), pa.array(part, pa.int64())], ["file", "row"])


@pytest.mark.parametrize(
    "rows",
    [
        list(range(500)),
        list(range(300, 500)),  # a task begins within the file
        list(range(100, 137)) + list(range(10, 40)),  # stretches in any order
        [row for row in range(500) if row % 11],  # some rows are not asked for
        [3, 2, 499, 0],
    ],
    ids=["whole", "end", "stretches", "gaps", "backwards"],
)
def test_rows_are_found_by_their_numbers(file, rows):
    path, values = file
    reader = pickle.loads(pickle.dumps(ColumnReader("image")))
    found = []
    for place in places(path, rows):
        portions = list(reader.read(place))
        assert [first for first, _ in portions] == np.cumsum([0, *[len(part) for _, part in portions[:-1]]]).tolist()
        found += [value for _, part in portions for value in part.to_pylist()]
    assert found == [values[row] for row in rows]


def test_a_file_is_opened_once_for_rows_that_follow_one_another(file, monkeypatch):
    path, _ = file
    opened = []
    real = pq.read_metadata
    monkeypatch.setattr(pq, "read_metadata", lambda stream: opened.append(1) or real(stream))
    reader = ColumnReader("image")
    [list(reader.read(place)) for place in places(path, list(range(500)))]
    assert len(opened) == 1


def test_a_file_that_changed_is_found_out(file):
    path, _ = file
    with pytest.raises(ValueError, match="did the file change"):
        [list(ColumnReader("image").read(place)) for place in places(path, list(range(501)))]


@pytest.mark.parametrize("size", [200, 70_000], ids=["small", "large"])
def test_a_part_of_a_row_group_reads_its_own_pages(tmp_path, size, monkeypatch):
    """Whatever their size. What lies far behind the last row is passed over, too."""
    values = [bytes([row % 251]) * (size + row % 7) for row in range(6000)]
    pq.write_table(pa.table({"image": values}), tmp_path / "a", compression="none", use_dictionary=False,
                   write_batch_size=1024, data_page_size=1 << 17)  # fmt: skip
    opened = []
    real = parquet_values.Values._open
    monkeypatch.setattr(parquet_values.Values, "_open", lambda self, page: opened.append(page) or real(self, page))
    rows = [*range(5000, 5010), *range(5990, 6000)]
    reader = ColumnReader("image")
    found = [value for place in places(tmp_path / "a", rows) for _, some in reader.read(place) for value in some]
    assert [one.as_py() for one in found] == [values[row] for row in rows]
    assert 0 < sum(page.values for page in opened) <= 2048
    opened.clear()
    [list(reader.read(place)) for place in places(tmp_path / "a", [*range(10), *range(4000, 4010)])]
    assert sum(page.values for page in opened) <= 2048
