"""Places are compared by what they are, whatever they are called."""

import os

import pytest

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.places import Place, check_apart, reached


def holds(folder, other):
    return Place.of("--output", str(folder)).holds(Place.of("--input", str(other)))


@pytest.mark.parametrize(
    ("folder", "other"),
    [
        ("s3a://b/out", "s3://b/out/kept"),
        ("s3://b/out/", "S3N://b//out/./x"),
        ("s3://b/a/../out", "s3://b/out"),
        ("s3://b", "s3://b/anything"),
        ("s3a://key:secret@b/out", "s3://b/out/x"),
        ("gcs://b/out", "gs://b/out/x"),
        ("hdfs://NameNode/out", "hdfs://namenode:8020/out/kept"),
        ("hdfs:/out", "hdfs://namenode/out/kept"),
        ("abfss://c@acc.dfs.core.windows.net/out", "ABFS://c@ACC.dfs.core.windows.net/out//kept"),
    ],
)
def test_urls_that_name_one_place(folder, other):
    assert holds(folder, other)


@pytest.mark.parametrize(
    ("folder", "other"),
    [
        ("s3://b/out", "s3://b/out2"),
        ("s3://b/out", "s3://c/out/x"),
        ("s3://b/out/kept", "s3://b/out"),
        ("s3://b/Out", "s3://b/out/x"),
        ("hdfs://one:8020/out", "hdfs://one:9000/out"),
        ("abfss://c@acc.dfs.core.windows.net/out", "abfss://d@acc.dfs.core.windows.net/out"),
        ("/out", "s3://b/out"),
        ("file:///out", "hdfs:/out"),
    ],
)
def test_urls_that_name_two(folder, other):
    assert not holds(folder, other)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """``v1/kept`` with a file, and other names for it."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "v1" / "kept"
    kept.mkdir(parents=True)
    (kept / "a.parquet").write_bytes(b"")
    for link, target in [("cur", "v1/kept"), ("alias", "v1"), ("to-file.parquet", "v1/kept/a.parquet")]:
        (tmp_path / link).symlink_to(target)
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    "other",
    ["v1", "v1/", "./v1//kept", "cur", "alias", "alias/kept", "alias/new/../newer", "to-file.parquet", "x/../v1/new",
     "file:v1"],
)  # fmt: skip
def test_local_names_of_one_place(here, other):
    for folder in ("v1", "alias", f"file://{here}/v1", str(here / "v1" / "")):
        if other != "file:v1":  # a relative name with a colon in it, for Hadoop too
            assert holds(folder, other), folder
    assert not holds("v1/kept/a.parquet", "v1")
    assert not holds("v", other) and not holds("v1/other", other)


def test_loops_and_what_is_not_there(here):
    assert holds("loop", "loop") and not holds("v1", "loop")
    assert holds("new", "new/er") and holds("alias/new", "v1/new/er") and not holds("new", "newer")


def test_one_folder_under_two_names_without_links(here, monkeypatch):
    """As where a folder is mounted twice, or names have no case."""
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: real(str(path).replace("V1", "v1"), **how))
    assert holds("V1", "v1/kept") and not holds("V1", "cur/../new")


def test_what_reading_reaches(here):
    folder = here / "in"
    (folder / "below").mkdir(parents=True)
    (folder / "plain.parquet").write_bytes(b"")
    assert [place.path for place in reached("--input", "in")] == [str(folder)]
    (folder / "below" / "again").symlink_to(folder)
    (folder / "below" / "link.parquet").symlink_to(here / "v1" / "kept" / "a.parquet")
    paths = {place.path for place in reached("--input", "in")}
    assert paths == {str(folder), str(here / "v1" / "kept" / "a.parquet")}
    for glob in ("v?/*/a.parquet", "{x,al{ias,i}}/kept/*", "c[tu]r", "[^xv]*/kept", "v1/kept"):
        assert any(holds("v1", place.path) for place in reached("--input", glob)), glob
    # What is there as it is written is no glob.
    (here / "x[1]").mkdir()
    (here / "x1").symlink_to("v1")
    assert [place.path for place in reached("--input", "x[1]")] == [str(here / "x[1]")]


def test_errors_say_which_and_where_it_leads(here):
    output = Place.of("--output", "v1")
    with pytest.raises(UserError) as error:
        check_apart(output, [Place.of("the input", "in"), Place.of("the input", "cur")])
    assert str(error.value) == f"--output v1: the input cur ({here}/v1/kept) lies in it; choose another folder".replace(
        "--output v1", f"--output v1 ({here}/v1)" if os.path.realpath(here) != str(here) else "--output v1"
    )
    with pytest.raises(UserError, match=r"^--output v1/new: it lies in --against alias \(.*/v1\); choose"):
        check_apart(Place.of("--output", "v1/new"), [Place.of("--against", "alias")])
