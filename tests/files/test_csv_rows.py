"""Rows of CSV."""

from __future__ import annotations

import gzip

import pytest

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.csv_rows import csv_rows


def rows_of(path, data):
    path.write_bytes(data)
    return list(csv_rows(str(path)))


def test_quotes_empty_fields_and_lines(tmp_path):
    data = b'\xef\xbb\xbf,a,b\r\n0,"x, ""y""\nz",\r\n\r\n1,\xc3\xa9,2'
    expected = [{"_c0": "0", "a": 'x, "y"\nz', "b": None}, {"_c0": "1", "a": "\xe9", "b": "2"}]
    assert rows_of(tmp_path / "a.csv", data) == [(row, None) for row in expected]
    assert rows_of(tmp_path / "a.tsv.gz", gzip.compress(b"a\tb\nx,\ty\n")) == [({"a": "x,", "b": "y"}, None)]


def test_what_is_no_row(tmp_path):
    found = rows_of(tmp_path / "a.csv", b"a,b\n1\n1,2,3\n\xff,2\n1,2\n")
    problems = ["1 fields, and the header has 2", "3 fields, and the header has 2", "not UTF-8", None]
    assert [problem for _, problem in found] == problems and found[0][0] == {"a": "1"}
    with pytest.raises(UserError, match="has the column `a` twice"):
        rows_of(tmp_path / "a.csv", b"a,a\n")
    assert rows_of(tmp_path / "a.csv", b"") == []
