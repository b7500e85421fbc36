"""A store that does not answer costs one bounded attempt, whatever the number of rows that name it."""

from __future__ import annotations

import threading
import time

import pyarrow as pa
import pytest
from pyarrow import fs

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures import reader, stores
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.stores import ask_store


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stores, "_stores", {})
    monkeypatch.setattr(stores, "_SECONDS", 0.3)
    monkeypatch.setattr(stores, "_QUICK", 0.1)
    monkeypatch.setattr(stores, "_LATER_SECONDS", 1)


class MemoryStore:
    """A store in which every file is."""

    def get_file_info(self, path):
        return fs.FileInfo(path, fs.FileType.File, size=3)


def rows(count: int, url: str) -> dict[int, ImageError]:
    rules = PathRules(("/data",), False, ("gs://", "s3://"))
    return reader.PictureReader(rules).read(pa.array([f"{url}/{number}.jpg" for number in range(count)])).errors


def test_a_silent_store_is_asked_once(monkeypatch):
    asked = []

    def waits(shown, uri):
        asked.append(uri)
        threading.Event().wait(5)

    monkeypatch.setattr(reader, "open_file_system", waits)
    for _ in range(2):
        errors = rows(50, "gs://bucket/folder")
        assert {error.code for error in errors.values()} == {"unreadable"}
        assert errors[7].message == "gs://bucket/folder/7.jpg: gs://bucket does not answer"
    assert len(asked) == 1
    rows(3, "gs://other")
    assert len(asked) == 2


def failing(code: str, seconds: float, asked: list[int]):
    def ask():
        asked.append(1)
        time.sleep(seconds)
        raise ImageError(code, "no")

    return ask


@pytest.mark.parametrize(
    ("code", "seconds", "attempts"),
    # A client that gives up by itself, credentials that are refused at once, a file that is not there.
    [("unreadable", 0.15, 1), ("unreadable", 0, 3), ("not_found", 0.15, 3)],
)
def test_what_counts_as_silence(code, seconds, attempts):
    asked: list[int] = []
    for _ in range(3):
        with pytest.raises(ImageError):
            ask_store("s3://bucket/a", "a", failing(code, seconds, asked))
    assert len(asked) == attempts


def test_a_store_that_answers_may_take_its_time_from_then_on():
    assert ask_store("s3://bucket/a", "a", lambda: 1) == 1
    assert ask_store("s3://bucket/b", "b", lambda: time.sleep(0.5) or 2) == 2


def test_a_silent_store_is_asked_again_later(monkeypatch):
    with pytest.raises(ImageError):
        ask_store("gs://bucket/a", "a", lambda: time.sleep(1))
    monkeypatch.setattr(stores, "_AGAIN", 0)
    assert ask_store("gs://bucket/a", "a", lambda: 1) == 1


@pytest.mark.parametrize(("seconds", "attempts"), [(0.15, 2), (2, 2), (0, 5)])
def test_a_store_that_falls_silent_is_asked_once_more(seconds, attempts):
    assert ask_store("s3://bucket/a", "a", lambda: 1) == 1
    asked: list[int] = []
    for _ in range(5):
        with pytest.raises(ImageError):
            ask_store("s3://bucket/a", "a", failing("unreadable", seconds, asked))
    assert len(asked) == attempts


def test_one_slow_failure_of_many_is_no_silence():
    for _ in range(3):
        assert ask_store("s3://bucket/a", "a", lambda: 1) == 1
        with pytest.raises(ImageError):
            ask_store("s3://bucket/a", "a", failing("unreadable", 0.15, []))


def test_a_store_that_is_heard_meanwhile_is_not_silent():
    asked: list[int] = []

    def ask():
        assert ask_store("s3://bucket/b", "b", lambda: 1) == 1
        return failing("unreadable", 0.15, asked)()

    assert ask_store("s3://bucket/a", "a", lambda: 1) == 1
    for _ in range(5):
        with pytest.raises(ImageError):
            ask_store("s3://bucket/a", "a", ask)
    assert len(asked) == 5


def test_a_large_file_may_take_longer():
    assert ask_store("s3://bucket/a", "a", lambda: 1) == 1
    assert ask_store("s3://bucket/a", "a", lambda: time.sleep(1.2) or 2, size=1 << 20) == 2


def test_reading_counts_too(monkeypatch):
    asked = []

    class Falls(MemoryStore):
        def open_input_stream(self, path, compression):
            asked.append(path)
            time.sleep(0.15)
            raise OSError("gone")

    monkeypatch.setattr(reader, "open_file_system", lambda shown, uri: (Falls(), uri.partition("//")[2]))
    errors = rows(200, "gs://bucket/folder")
    assert {error.code for error in errors.values()} == {"unreadable"}
    assert errors[199].message == "gs://bucket/folder/199.jpg: gs://bucket does not answer"
    assert len(asked) <= 17  # those that were under way together, and one more
