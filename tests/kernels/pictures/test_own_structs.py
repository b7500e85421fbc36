"""Structs that a source has made itself: parts of archives and quoted paths; in data the same fields mean nothing."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pyarrow as pa
import pytest

from imgdedup_spark.files import tar_parts
from imgdedup_spark.files.access import Carried
from imgdedup_spark.files.tar import Archive
from imgdedup_spark.files.tar_parts import read_part
from imgdedup_spark.kernels.pictures import reader as pictures
from imgdedup_spark.kernels.pictures.forms import QUOTED, SIZE, START
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader

PART = pa.struct([("path", pa.string()), ("bytes", pa.binary()), (START, pa.int64()), (SIZE, pa.int64())])


def read(folder, rows, kind, *, own, explicit=False):
    reader = PictureReader(PathRules((str(folder),), explicit), own_structs=own)
    found = pickle.loads(pickle.dumps(reader)).read(pa.array(rows, kind))
    return [found.errors[i].code if data is None else bytes(data) for i, data in enumerate(found.data)]


def part(path, start, size):
    return {"path": str(path), "bytes": None, START: start, SIZE: size}


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "in" / "a.tar"
    path.parent.mkdir()
    path.write_bytes(bytes(range(100)))
    return path


def test_only_a_source_names_parts(shard):
    rows = [part(shard, 10, 3), part(shard, 98, 2)]
    assert read(shard.parent, rows, PART, own=True) == [bytes([10, 11, 12]), bytes([98, 99])]
    assert read(shard.parent, rows, PART, own=False) == [shard.read_bytes()] * 2
    lists = [[part("a.tar", 10, 3)]]
    assert read(shard.parent, lists, pa.list_(PART), own=False) == [shard.read_bytes()]
    quoted = pa.struct([("path", pa.string()), (QUOTED, pa.string())])
    other = shard.parent / os.fsdecode(b"b\xff%.tar")
    other.write_bytes(b"other")
    rows = [{"path": "a.tar", QUOTED: "b%FF%25.tar"}]
    assert read(shard.parent, rows, quoted, own=False) == [shard.read_bytes()]
    assert read(shard.parent, rows, quoted, own=True) == [b"other"]
    # Quoting hides nothing from the rules.
    (shard.parents[1] / "secret").write_bytes(b"secret")
    out = [{"path": None, QUOTED: "%2E%2E/secret"}]
    assert read(shard.parent, out, quoted, own=True) == ["forbidden_path"]


def test_parts_follow_the_rules_of_local_files(shard, monkeypatch):
    beside = shard.parents[1]
    (beside / "link.tar").symlink_to(shard)
    os.mkfifo(beside / "pipe.tar")
    rows = [part(beside / "link.tar", 1, 2), part(beside / "pipe.tar", 1, 2), part(beside, 1, 2), part(shard, 99, 2)]
    assert read(shard.parent, rows, PART, own=True) == [bytes([1, 2]), "not_a_file", "not_a_file", "unreadable"]
    assert read(shard.parent, rows[1:2], PART, own=True, explicit=True) == ["forbidden_path"]
    # Swapped after it was looked at, a link is not followed and a pipe not waited for.
    sized = pictures.sized
    for name, code in (("link.tar", "not_found"), ("pipe.tar", "not_a_file")):
        monkeypatch.setattr(pictures, "sized", lambda file, to=beside / name: replace(sized(file), path=str(to)))
        assert read(shard.parent, [part(shard, 1, 2)], PART, own=True) == [code]


def test_an_archive_that_was_replaced_is_read_anew(shard):
    assert read_part("a.tar", 1, 1, str(shard)) == bytes([1])
    (shard.parent / "new").write_bytes(b"n" * 100)
    (shard.parent / "new").replace(shard)
    assert read_part("a.tar", 1, 1, str(shard)) == b"n"


def test_a_stream_that_breaks_off_is_opened_once_more(tmp_path, monkeypatch):
    """Of a store; what a local file says is true."""
    shard = tmp_path / "a.tar"
    shard.write_bytes(bytes(range(10)))
    assert read_part(str(shard), 1, 1) == bytes([1])
    opened, broken, real = [], [True], Archive.read

    class Counted(Archive):
        def __init__(self, *arguments):
            opened.append(arguments)
            super().__init__(*arguments)

    def read(archive, offset, size):
        if broken:
            broken.pop()
            raise OSError("the connection is closed")
        return real(archive, offset, size)

    monkeypatch.setattr(Archive, "read", read)
    monkeypatch.setattr(tar_parts, "Archive", Counted)
    assert read_part(str(shard), 2, 1) == bytes([2]) and len(opened) == 1
    broken += [True, True]
    with pytest.raises(OSError, match="connection is closed"):
        read_part(str(shard), 3, 1)
    broken += [True]
    with pytest.raises(OSError, match="connection is closed"):
        read_part(str(shard), 3, 1, str(shard))
    assert not broken


def test_each_task_opens_an_archive_on_a_store_anew(tmp_path):
    shard = tmp_path / "a.tar"
    shard.write_bytes(b"a" * 100)
    assert read_part(str(shard), 1, 1) == b"a"
    shard.write_bytes(b"b" * 100)
    assert Carried(read_part)(str(shard), 1, 1) == b"b"
