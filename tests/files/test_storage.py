import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import fs

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import sharing, storage


def test_plain_paths_and_urls_name_the_same_local_file(tmp_path, monkeypatch):
    file = tmp_path / "a b%20é#?.txt"
    file.write_text("x")
    monkeypatch.chdir(tmp_path)
    for uri in (
        str(file),
        f"file:{file}",
        f"file://{file}",
        f"file://localhost{file}",
        file.name,
        f"./{file.name}",
    ):
        opened, path = storage.open_fs(uri)
        assert isinstance(opened, fs.LocalFileSystem)
        assert path == str(file), uri
        assert storage.read_text(uri) == "x"
        assert storage.is_local(uri)


@pytest.mark.parametrize("name", ["a b", "a%20b", "100%", "é#?", "a+b", "a:b", "a%2520b"])
def test_what_spark_encodes_comes_back(name):
    # java.net.URI escapes in a path: space, percent, hash, question mark; other characters stay.
    encoded = name.replace("%", "%25").replace(" ", "%20").replace("#", "%23").replace("?", "%3F")
    assert storage.from_spark(f"file:/tmp/{encoded}") == f"file:/tmp/{name}"


def test_colons_in_local_names_are_no_schemes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.split_uri("12:30/x") == ("file", "", str(tmp_path / "12:30/x"))
    assert storage.split_uri("a:b")[0] == "file"
    assert storage.split_uri("c:/x")[0] == "file"


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3a://b/k 1/é%20", ("s3", "b", "/k 1/é%20")),
        ("S3N://b", ("s3", "b", "/")),
        ("hdfs://nn:8020/a", ("hdfs", "nn:8020", "/a")),
        ("hdfs:/a", ("hdfs", "", "/a")),
        ("abfss://c@acc.dfs.core.windows.net/a", ("abfss", "c@acc.dfs.core.windows.net", "/a")),
    ],
)
def test_urls_are_split_as_hadoop_splits_them(uri, parts):
    assert storage.split_uri(uri) == parts


def test_buckets_open_without_decoding_the_key():
    opened, path = storage.open_fs("gs://bucket/k 1/a%20b")
    assert isinstance(opened, fs.GcsFileSystem)
    assert path == "bucket/k 1/a%20b"
    assert storage.open_fs("gs://bucket")[1] == "bucket"
    assert storage.open_fs("gs://bucket/x/")[0] is opened


@pytest.mark.parametrize("uri", ["nosuch://x/y", "http://x/y", "ftp://x/y"])
def test_unknown_schemes_are_one_line_that_names_them(uri):
    with pytest.raises(storage.UnsupportedScheme) as caught:
        storage.open_fs(uri)
    assert uri.split(":")[0] + "://" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_urls_name_no_host():
    with pytest.raises(UserError, match="no host"):
        storage.open_fs("file://tmp/x")


def test_folders(tmp_path):
    folder = str(tmp_path / "out")
    assert storage.is_empty_or_missing(folder)
    assert storage.list_files(folder) == []
    (tmp_path / "out").mkdir()
    assert storage.is_empty_or_missing(folder)
    storage.write_text(storage.join(folder, "b.txt"), "1")
    storage.write_text(storage.join(folder, "a", "é %20.txt"), "2")
    assert not storage.is_empty_or_missing(folder)
    assert not storage.is_empty_or_missing(storage.join(folder, "b.txt"))
    assert storage.list_files(folder) == [f"{folder}/b.txt"]
    assert storage.list_files(f"file:{folder}", recursive=True) == [
        f"file:{folder}/a/é %20.txt",
        f"file:{folder}/b.txt",
    ]
    assert storage.exists(folder)
    storage.delete(folder)
    storage.delete(folder)
    assert not storage.exists(folder)


def test_delete_spares_file_systems_and_what_links_lead_to(tmp_path):
    for uri in ("/", "file:///", "gs://bucket", "gs://bucket/"):
        with pytest.raises(UserError, match="whole file system"):
            storage.delete(uri)
    real = tmp_path / "real"
    real.mkdir()
    (real / "x").write_text("")
    link = tmp_path / "link"
    link.symlink_to(real)
    below = tmp_path / "below"
    below.mkdir()
    (below / "link").symlink_to(real)
    storage.delete(str(below))
    storage.delete(str(link))
    assert not link.is_symlink() and not below.exists() and (real / "x").exists()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    storage.delete(str(tmp_path / "dangling"))
    assert not (tmp_path / "dangling").is_symlink()
    file = tmp_path / "file"
    file.write_text("")
    storage.delete(str(file))
    assert not file.exists()


def test_local_writes_are_whole_or_not_at_all(tmp_path):
    uri = str(tmp_path / "new" / "summary.json")
    storage.write_text(uri, "old")
    with pytest.raises(RuntimeError), storage.open_output(uri) as stream:
        stream.write(b"half")
        assert Path(uri).read_text() == "old"
        raise RuntimeError
    assert Path(uri).read_text() == "old"
    storage.write_text(uri, json.dumps({"é": 1}))
    assert json.loads(storage.read_text(uri)) == {"é": 1}
    assert os.listdir(tmp_path / "new") == ["summary.json"]  # noqa: PTH208


@pytest.fixture
def object_store(monkeypatch):
    """pyarrow's in-memory file system in the place of a bucket."""
    store = fs._MockFileSystem()
    store.create_dir("bucket")
    monkeypatch.setattr(storage, "_remote", lambda scheme, authority: (store, authority))
    return store


def test_object_stores_get_one_whole_object(object_store):
    uri = "s3://bucket/a %20.txt"
    storage.write_text(uri, "one")
    with pytest.raises(RuntimeError), storage.open_output(uri) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert storage.read_text(uri) == "one"
    assert storage.list_files("s3://bucket") == [uri]
    assert not storage.is_empty_or_missing("s3://bucket")
    storage.delete(uri)
    storage.delete(uri)
    assert storage.is_empty_or_missing("s3://bucket")


def test_hdfs_replaces_by_renaming(object_store):
    uri = "hdfs://bucket/out/a.txt"
    storage.write_text(uri, "one")
    storage.write_text(uri, "two")
    assert storage.read_text(uri) == "two"
    assert storage.list_files("hdfs://bucket/out") == [uri]


FULL_DISK = """
import resource, signal, sys
from imgdedup_spark.files import sharing, storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    storage.write_text(sys.argv[1], "x" * 100_000)
except OSError as error:
    print(error)
"""


def test_errors_say_where(tmp_path, object_store):
    """Also a disk that takes no more, of which a limit for files is the likeness that needs no disk."""
    uri = str(tmp_path / "out" / "summary.json")
    said = subprocess.run([sys.executable, "-c", FULL_DISK, uri], capture_output=True, text=True, check=True).stdout
    assert said == f"[Errno 27] File too large: '{uri}'\n" and not list((tmp_path / "out").iterdir())
    (tmp_path / "file").write_text("")
    for wrong in (lambda path: storage.write_text(path, "x"), storage.read_text):
        with pytest.raises(OSError, match=f"{tmp_path}/file/x"):
            wrong(str(tmp_path / "file" / "x"))
    with pytest.raises(FileNotFoundError, match="s3://bucket/nothing"):
        storage.read_text("s3://bucket/nothing")
    # What goes wrong with a file that is being read is not about the one that is written.
    with pytest.raises(OSError) as error, storage.open_output(uri):
        raise OSError(5, "the other")
    assert uri not in str(error.value)


@pytest.mark.parametrize("where", ["local", "no links", "s3", "hdfs"])
def test_a_file_is_created_once(tmp_path, object_store, where, monkeypatch):
    monkeypatch.setattr(sharing, "SETTLE_SECONDS", 0.01)
    if where == "no links":

        def refuse(*paths):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    folder = f"{where}://bucket" if where in ("s3", "hdfs") else str(tmp_path)
    assert sharing.one_wins(folder) == (where in ("local", "hdfs"))
    assert storage.list_names(folder) == []
    uri = f"{folder}/1.json"
    assert sharing.create_exclusively(uri, "mine")
    assert not sharing.create_exclusively(uri, "other")
    assert storage.read_text(uri) == "mine" and storage.list_names(folder) == ["1.json"]
    sharing.delete_empty(folder)
    assert storage.read_text(uri) == "mine"
    storage.delete(uri)
    sharing.delete_empty(folder)
    assert storage.list_names(folder) == [] and storage.list_states(folder) == []
