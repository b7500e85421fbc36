"""What lies in an input: every file once, and what is passed over by reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.listing import Walk, is_utf8
from imgdedup_spark.files.uris import encoded, from_spark


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def names(path: object, walk: Walk | None = None) -> list[str]:
    return [one.name for one in (walk or Walk()).files(str(path))[1]]


def passed(walk: Walk) -> dict[str, int]:
    return {reason: one["count"] for reason, one in walk.passed.reasons.items()}


def test_every_name_counts(tmp_path):
    folder = make(tmp_path, "_DSC1.JPG", "a.jpg", "_edited/b.jpg", "x y/ü%20.jpg", "[1]/{2}/c:d\\e.jpg", "no_ending")
    assert names(folder) == sorted(
        ["_DSC1.JPG", "_edited/b.jpg", "a.jpg", "no_ending", "x y/ü%20.jpg", "[1]/{2}/c:d\\e.jpg"]
    )


def test_hidden_files_and_bookkeeping_are_counted(tmp_path):
    walk = Walk()
    make(
        tmp_path, ".DS_Store", ".git/config", "_SUCCESS", "_temporary/0/part.parquet", "_delta_log/0.json", "a.parquet"
    )
    assert names(tmp_path, walk) == ["a.parquet"]
    assert passed(walk) == {"hidden": 2, "bookkeeping": 3}


def test_a_path_that_exists_is_no_glob(tmp_path):
    make(tmp_path, "[2024] a/x.jpg", "2 a/y.jpg", "set {v1}/z.jpg", "q?.jpg", "qq.jpg")
    assert names(tmp_path / "[2024] a") == ["x.jpg"]
    assert names(tmp_path / "set {v1}") == ["z.jpg"]
    assert names(tmp_path / "q?.jpg") == ["q?.jpg"]
    assert names(tmp_path / "[02]* a") == ["2 a/y.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["a.jpg", "b1.jpg"]),
        ("{a,c/d}.jpg", ["a.jpg", "c/d.jpg"]),
        ("b?.jpg", ["b1.jpg"]),
        ("[!a]*.jpg", ["b1.jpg"]),
        ("*/d.jpg", ["c/d.jpg"]),
        ("c*", ["c/d.jpg"]),
        ("s-{000..002}.tar", ["s-000.tar", "s-002.tar"]),
    ],
)
def test_globs(tmp_path, pattern, found):
    make(tmp_path, "a.jpg", "b1.jpg", "c/d.jpg", ".h.jpg", "s-000.tar", "s-002.tar", "s-003.tar")
    assert names(tmp_path / pattern) == found


def test_a_file_is_named_by_itself_and_read_whatever_its_name(tmp_path):
    make(tmp_path, ".hidden.jpg")
    walk = Walk()
    folder, files = walk.files(str(tmp_path / ".hidden.jpg"))
    assert (folder, [one.name for one in files]) == (str(tmp_path), [".hidden.jpg"])
    assert files[0].size == len(".hidden.jpg") and files[0].time > 1_600_000_000_000


def test_links(tmp_path):
    make(tmp_path, "objects/1.png", "objects/2.png", "work/own.png")
    work = tmp_path / "work"
    (work / "loop").symlink_to(work)
    (work / "a.png").symlink_to(tmp_path / "objects" / "1.png")
    (work / "b.png").symlink_to(tmp_path / "objects" / "1.png")
    (work / "gone.png").symlink_to(tmp_path / "nowhere")
    (work / "z").symlink_to(tmp_path / "objects")
    os.mkfifo(work / "pipe")
    walk = Walk()
    assert names(work, walk) == ["a.png", "own.png", "z/2.png"]
    assert passed(walk) == {"same_file": 2, "broken_link": 1, "link_loop": 1, "not_a_file": 1}


def test_overlapping_inputs_have_each_file_once(tmp_path):
    make(tmp_path, "a.png", "sub/b.png")
    walk = Walk()
    assert names(tmp_path, walk) == ["a.png", "sub/b.png"]
    assert names(tmp_path / "sub", walk) == [] and names(tmp_path / "a.png", walk) == []
    assert passed(walk) == {"same_file": 2}


def test_folders_that_link_to_each_other_are_walked_once(tmp_path):
    for name in "abcdefgh":
        make(tmp_path, f"{name}/{name}.png")
        for other in "abcdefgh":
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    walk = Walk()
    assert sorted(name[-5:] for name in names(tmp_path, walk)) == [f"{one}.png" for one in "abcdefgh"]
    assert walk.passed.reasons["same_folder"]["count"] < 100


def test_hard_links(tmp_path):
    make(tmp_path, "a.png")
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    walk = Walk()
    assert names(tmp_path, walk) == ["a.png"] and passed(walk) == {"hard_link": 1}
    assert names(tmp_path, Walk(count_hard_links=True)) == ["a.png", "b.png"]


def test_names_that_are_no_utf_8(tmp_path):
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png")).write_bytes(b"x")
    walk = Walk()
    found = names(tmp_path, walk)
    assert found == ["caf\udce9.png"] and passed(walk) == {} and not is_utf8(found[0])
    walk.passed.add("name_not_utf8", found[0])
    assert "udce9" in str(walk.passed)
    with pytest.raises(UserError, match="its name is not UTF-8"):
        walk.files(f"{tmp_path}/{found[0]}")


def test_globs_beside_names_that_are_no_utf_8(tmp_path):
    for name in (b"\xe9.png", b"a.png", b"d\xe9/b.png", b"e/c.png"):
        path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    # By themselves, and in a folder: found, so that they are read or counted.
    assert sorted(one.name for one in Walk().files(f"{tmp_path}/*.png")[1]) == ["a.png", "\udce9.png"]
    assert sorted(one.name for one in Walk().files(f"{tmp_path}/*/*.png")[1]) == ["d\udce9/b.png", "e/c.png"]
    assert len(Walk().files(f"{tmp_path}/*")[1]) == 4


@given(st.binary(min_size=1, max_size=20).map(lambda name: os.fsdecode(name.replace(b"/", b"%25"))))
def test_any_name_has_a_form_that_is_utf_8(name):
    assert from_spark(encoded(name)) == name
    encoded(name).encode("utf-8")


def test_nothing_there(tmp_path):
    for path in (tmp_path / "nothing", tmp_path / "*.jpg"):
        with pytest.raises(UserError, match="matches no file"):
            Walk().files(str(path))
