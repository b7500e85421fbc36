"""Through Spark Connect nothing is touched that only classic Spark has, or that serverless platforms refuse."""

from __future__ import annotations

import conftest
import pytest

from imgdedup_spark import DedupConfig, deduplicate, find_leaks
from imgdedup_spark.hash import small

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(conftest.MODE != "connect", reason="classic Spark has all of it"),
]
REFUSED = ("persist", "cache", "checkpoint", "localCheckpoint", "rdd", "sparkContext", "_jvm", "_jdf", "_jsparkSession")


@pytest.fixture
def serverless(spark, monkeypatch):
    """A session in which touching any of that is a failure."""
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession

    def refuse(name):
        def touched(self, *arguments):
            raise AssertionError(f"{name} was touched")

        return property(touched)

    for kind in (DataFrame, SparkSession):
        for name in REFUSED:
            if kind is DataFrame or name not in ("cache", "persist"):
                monkeypatch.setattr(kind, name, refuse(name), raising=False)
    with pytest.raises(AssertionError, match="persist was touched"):
        spark.range(1).persist()
    return spark


def test_a_small_call(serverless, photos):
    rows = [(number, photos[letter]) for number, letter in enumerate("ABCAB")]
    frame = serverless.createDataFrame(rows, "id long, image binary")
    result = deduplicate(frame, DedupConfig(threshold=4), id_col="id")
    shown = result._repr_html_()
    assert shown.count('<img src="data:image/jpeg;base64,') == 4 and "kept: 0" in shown and "dropped: 4" in shown
    assert result.kept.count() == 3 and result.summary()["rows_dropped"] == 2
    assert result.errors.count() == 0 and result.hashes.count() == 5
    assert result.duplicates._repr_html_().count("<img ") == 4 and result.report().count("data:image/jpeg") >= 4
    result.close()


def test_a_large_call_with_staging(serverless, photos, tmp_path, monkeypatch):
    """Decided by Spark, and from an input without ids."""
    monkeypatch.setattr(small, "MOST_ROWS", -1)
    frame = serverless.createDataFrame([(photos[letter],) for letter in "ABAC"], "image binary")
    result = deduplicate(frame, DedupConfig(), staging=str(tmp_path / "staging"))
    assert (result.kept.count(), result.duplicates.count(), result.pairs(2).count()) == (3, 1, 1)
    result.close()


@pytest.mark.parametrize("by_spark", [False, True])
def test_days_with_an_index(serverless, photos, tmp_path, monkeypatch, by_spark):
    if by_spark:
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    places = {"staging": str(tmp_path / "staging"), "index": str(tmp_path / "index")}
    kept = []
    for day, letters in (("monday", "ABA"), ("tuesday", "BCC")):
        rows = [(f"{day} {number}", photos[letter]) for number, letter in enumerate(letters)]
        frame = serverless.createDataFrame(rows, "id string, image binary")
        result = deduplicate(frame, DedupConfig(threshold=4), id_col="id", run_id=day, **places)
        kept.append(sorted(one.id for one in result.kept.collect()))
        result.close()
    assert kept == [["monday 0", "monday 1"], ["tuesday 1"]]


def test_stages(serverless, photos, tmp_path):
    rows = [(number, photos[letter]) for number, letter in enumerate("ABAC")]
    frame = serverless.createDataFrame(rows, "id long, image binary")
    config = DedupConfig(stages=({"method": "md5"}, {"method": "dhash", "threshold": 4}))
    for staging in (None, str(tmp_path / "staging")):
        result = deduplicate(frame, config, id_col="id", staging=staging)
        assert (result.kept.count(), result.summary()["rows_dropped"]) == (3, 1)
        assert result.report().startswith("<!DOCTYPE html>")
        result.close()


def test_leaks(serverless, photos):
    def split(letters):
        rows = [(number, photos[letter]) for number, letter in enumerate(letters)]
        return serverless.createDataFrame(rows, "id long, image binary")

    found = find_leaks(split("ABC"), {"test": split("CD")}, DedupConfig(threshold=4), id_col="id")
    assert found.leaked == 1 and "train" in str(found)
    assert {(one.split, one.id, one.other_id) for one in found.pairs.collect()} == {
        ("train", "2", "0"),
        ("test", "0", "2"),
    }
    found.close()
