"""Tables of a result in a notebook: their first rows, with pictures."""

from __future__ import annotations

import pytest

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.hash import isolated
from imgdedup_spark.report import table

pytestmark = pytest.mark.spark
PICTURE = '<img src="data:image/jpeg;base64,'


@pytest.fixture
def result(spark, photos):
    letters = ["A", "B", "A", "C", "B"]
    rows = [(f"<{number}>", photos[letter], letter) for number, letter in enumerate(letters)]
    rows.append(("<5>", b"no picture", None))
    frame = spark.createDataFrame(rows, "name string, image binary, word string")
    made = deduplicate(frame, DedupConfig(on_error="keep"), id_col="name")
    yield made
    made.close()


@pytest.fixture
def unforked(monkeypatch):
    """What speaks with Spark Connect must not be forked: decoders die of it now and then."""
    monkeypatch.setattr(isolated, "_mine", None)
    monkeypatch.setattr(isolated.Helper, "_start", lambda self: pytest.fail("forked from the driver"))


def test_every_table_shows_its_rows(result, unforked, monkeypatch):
    kept = result.kept._repr_html_()
    assert "<th>name</th><th>image</th><th>word</th>" in kept and "&lt;0&gt;</td>" in kept
    assert kept.count(PICTURE) == 6 and "<td>10 bytes</td>" in kept and "<td></td>" in kept  # of rows, and of values
    duplicates = result.duplicates._repr_html_()
    assert duplicates.count("<tr>") == 3 and duplicates.count(PICTURE) == 4
    assert duplicates.count("&lt;2&gt;</td>") == 1 and duplicates.count("&lt;0&gt;</td>") == 1
    assert result.hashes._repr_html_().count(PICTURE) == 5
    assert "&lt;5&gt;" in result.errors._repr_html_() and PICTURE not in result.errors._repr_html_()
    assert result.pairs(2)._repr_html_().count(PICTURE) == 4
    # It is still a frame, and what is made of it is an ordinary one.
    assert result.duplicates.count() == 2
    assert "The first" not in kept
    monkeypatch.setattr(table, "ROWS", 2)
    assert result.kept._repr_html_().endswith("<p>The first 2 rows.</p>")
    assert "The first" not in result.duplicates._repr_html_()


def test_pictures_in_structs_and_binary_ids(spark, photos):
    rows = [(bytes([number]), (photos[letter], f"{letter}.jpg"), [1, 2]) for number, letter in enumerate("ABA")]
    frame = spark.createDataFrame(rows, "key binary, image struct<bytes: binary, path: string>, more array<int>")
    found = deduplicate(frame, DedupConfig(), id_col="key")
    kept = found.kept._repr_html_()
    assert kept.count(f"{PICTURE}") == 4 and "<br>A.jpg</td>" in kept and "<td>[1, 2]</td>" in kept
    assert "\\x00</td>" in kept and " bytes" not in kept
    found.close()


def test_binary_ids_of_errors_and_lists_of_pictures(spark, photos, unforked):
    rows = [(b"\x01", [photos["A"], b"no picture"]), (b"\x02", [photos["B"]])]
    found = deduplicate(spark.createDataFrame(rows, "key binary, images array<binary>"), DedupConfig(), id_col="key")
    assert "\\x01</td>" in found.errors._repr_html_() and "unknown_format" in found.errors._repr_html_()
    assert found.kept._repr_html_().count(PICTURE) == 2
    found.close()


def test_a_table_of_many_rows_is_shown_as_any_other_frame(result, monkeypatch):
    monkeypatch.setattr(table, "is_cheap", lambda found: False)
    assert result.hashes._repr_html_() is None


def test_what_cannot_be_shown_is_no_failure(result, monkeypatch):
    kept = result.kept
    monkeypatch.setattr(table, "to_driver", None)
    assert kept._repr_html_() is None
