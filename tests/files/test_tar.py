"""Tar shards, read and copied as the format's own library has them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from imgdedup_spark.files.shares import Share
from imgdedup_spark.files.tar import Archive
from imgdedup_spark.files.tar_samples import copy_tar, read_samples, split_name

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
FILES = [
    ("a.jpg", b"1" * 600),
    ("a.txt", b"hi"),
    ("no-ending", b"3"),
    ("d.d/b.c.PNG", b"x" * 512),
    ("/abs/../é.jpg", b""),
    ("x" * 90 + "/" + "y" * 90 + ".jpg", b"zz"),
    ("__meta__/a.jpg", b"1"),
    ("a.jpg", b"again"),
    ("a.jpg", b"and again"),
]
KEYS = ["a", "d.d/b", "/abs/../é", "x" * 90 + "/" + "y" * 90, "a.2", "a.3"]


def archive(path, files=FILES, form="pax", mode="w"):
    with tarfile.open(path, mode, format=FORMATS[form]) as made:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        for kind, name in ((tarfile.SYMTYPE, "l.jpg"), (tarfile.LNKTYPE, "h.jpg"), (tarfile.DIRTYPE, "f.jpg")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            made.addfile(info)
    return str(path)


def samples(path):
    with Archive(path) as opened:
        return list(read_samples(opened, frozenset({"txt"})))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_samples_and_their_bytes(tmp_path, form, ending):
    path = archive(tmp_path / f"s.{ending}", form=form, mode="w:gz" if ending == "tar.gz" else "w")
    found = samples(path)
    assert [one.key for one in found] == KEYS and found[0].texts == {"txt": b"hi"}
    assert [list(one.pictures) for one in found] == [["jpg"], ["c.png"], *[["jpg"]] * 4]
    with Archive(path) as opened:
        contents = [opened.data(one) for sample in found for one in sample.pictures.values()]
    assert contents == [
        content for name, content in FILES if name.lower().endswith(("jpg", "png")) and "__" not in name
    ]


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_copy_has_the_samples_byte_for_byte(tmp_path, ending):
    path = archive(tmp_path / f"s.{ending}", mode="w:gz" if ending == "tar.gz" else "w")
    out = tmp_path / f"out.{ending}"
    assert copy_tar([Share(path, 0, 6)], [np.array([1, 4])], str(out)) == 4
    with tarfile.open(out) as made:
        copied = [(one.name, made.extractfile(one).read()) for one in made]
    assert copied == [FILES[number] for number in (0, 1, 4, 5, 8)]
    whole, part = (
        (gzip.decompress if ending == "tar.gz" else bytes)(one) for one in (Path(path).read_bytes(), out.read_bytes())
    )
    assert part.removesuffix(b"\0" * 1024)[:2048] == whole[:2048]


@pytest.mark.parametrize("cut", [700, 1000, 2000, 2500])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_what_comes_before_a_break_is_read(tmp_path, ending, cut):
    path = archive(tmp_path / "s.tar")
    whole = Path(path).read_bytes()[:cut]
    path = str(tmp_path / f"cut.{ending}")
    # Without the end of the compressed stream.
    Path(path).write_bytes(gzip.compress(whole)[:-9] if ending == "tar.gz" else whole)
    found = samples(path)
    assert [one.key for one in found] == (["a", ".broken"] if cut > 1536 else [".broken"])
    assert copy_tar([Share(path, 0, len(found))], [np.array([], int)], str(tmp_path / "out.tar")) == len(found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", ("a", "jpg")),
        ("a.B.JPG", ("a", "b.jpg")),
        ("a.b/c.jpg", ("a.b/c", "jpg")),
        ("a/.x", ("a/", "x")),
        ("a.b/.x", None),
        (".x", None),
        ("a", None),
        ("__x__/a.jpg", None),
        ("./a.jpg", ("./a", "jpg")),
    ],
)
def test_keys(name, expected):
    assert split_name(name) == expected


def test_the_same_samples_as_the_library(tmp_path):
    wds = pytest.importorskip("webdataset")
    path = archive(tmp_path / "s.tar", FILES[:7], "gnu")
    theirs = list(wds.WebDataset(path, shardshuffle=False))
    ours = samples(path)
    assert [one["__key__"] for one in theirs] == [one.key for one in ours]
    assert [[name for name in one if name[0] != "_"] for one in theirs] == [one.endings for one in ours]


def test_hostile_headers(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.size = 1 << 50
    (tmp_path / "huge.tar").write_bytes(info.tobuf())
    assert [one.problem for one in samples(str(tmp_path / "huge.tar"))] == ["ends in a.jpg"]
    note = tarfile.TarInfo("n")
    note.type, note.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "note.tar").write_bytes(note.tobuf(tarfile.GNU_FORMAT))
    assert "header of" in samples(str(tmp_path / "note.tar"))[0].problem
    (tmp_path / "none.tar").write_bytes(b"")
    assert [one.problem for one in samples(str(tmp_path / "none.tar"))] == ["ends at byte 0"]
