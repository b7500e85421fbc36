"""HDFS, a small cluster of it, as Spark's JVM opens it: its workers have no client for it here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Result, classic_session, write_tar
from servers import Hdfs, need, serving_hdfs

from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.files import sharing
from imgdedup_spark.files.sharing import create_exclusively
from imgdedup_spark.hash.store import PrintStore
from imgdedup_spark.job import run
from imgdedup_spark.spark.hadoop import serve_storage

pytestmark = need("hdfs")


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    session = classic_session({"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"})
    yield session
    session.stop()


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    with serving_hdfs(tmp_path_factory.mktemp("hdfs")) as started:
        yield started


@pytest.fixture
def cluster(hdfs: Hdfs) -> str:
    return hdfs.root


def copy(spark: Any, source: str, target: str) -> None:
    """A file or folder, from one of Hadoop's file systems to another."""
    path = spark._jvm.org.apache.hadoop.fs.Path
    conf = spark._jsc.hadoopConfiguration()
    systems = (path(one).getFileSystem(conf) for one in (source, target))
    spark._jvm.org.apache.hadoop.fs.FileUtil.copy(
        next(systems), path(source), next(systems), path(target), False, True, conf
    )


def test_the_job_with_its_index(spark, cluster, photos, tmp_path):
    for number, day in enumerate(("ABACD", "BEFDE")):
        table = pa.table({"id": [f"{number}{place}" for place in range(5)], "image": [photos[one] for one in day]})
        pq.write_table(table, tmp_path / f"{number}.parquet")
        copy(spark, f"file:{tmp_path}/{number}.parquet", f"{cluster}/days/{number}.parquet")
    found = {}
    for where, base in (("here", str(tmp_path)), ("there", f"{cluster}/days")):
        for number in (0, 1, 1):  # the second day once more
            given = [
                "--input",
                f"{base}/{number}.parquet",
                "--output",
                f"{base}/out{number}",
                "--index",
                f"{base}/index",
            ]
            options = ["--run-id", f"day{number}", "--id-col", "id", "--threshold", "4", "--overwrite"]
            summary = run(spark, read_options([*given, *options]))
        if where == "there":
            copy(spark, f"{base}/out1", f"file:{tmp_path}/back")
        result = Result(tmp_path / ("back" if where == "there" else "out1"))
        assert summary["storage"] == ({cluster: "spark"} if where == "there" else {})
        found[where] = (
            result.kept,
            sorted(map(str, result.table("duplicates"))),
            sorted(map(str, result.table("hashes"))),
        )
    assert found["here"] == found["there"] and len(found["here"][0]) == 2


def test_one_of_two_commits_wins(spark, cluster, monkeypatch):
    serve_storage()
    begin = threading.Barrier(2)
    monkeypatch.setattr(sharing.storage, "exists", lambda uri: False)  # the rename alone decides

    def create(number: int, who: str) -> bool:
        begin.wait()
        return create_exclusively(f"{cluster}/manifests/{number:08}.json", who)

    with ThreadPoolExecutor(2) as pool:
        each = [sum(pool.map(create, [number] * 2, "ab")) for number in range(200)]
    assert each == [1] * 200


def test_pictures_that_rows_name(spark, cluster, photos, tmp_path):
    """By a JVM of the worker's own."""
    (tmp_path / "a.png").write_bytes(photos["A"])
    (tmp_path / "b.png").write_bytes(photos["B"])
    names = ["pictures/a.png", "pictures/b.png", f"{cluster}/named/pictures/a.png", "pictures/none.png"]
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"image": "{name}"}}\n' for name in names))
    for name, where in (("rows.jsonl", ""), ("a.png", "pictures/"), ("b.png", "pictures/")):
        copy(spark, f"file:{tmp_path}/{name}", f"{cluster}/named/{where}{name}")
    given = ["--input", f"{cluster}/named/rows.jsonl", "--output", str(tmp_path / "out"), "--on-error", "keep"]
    run(spark, read_options(given))
    result = Result(tmp_path / "out")
    assert [row["image"] for row in result.kept] == [names[0], names[1], names[3]]
    assert [error["error"] for error in result.table("errors")] == ["not_found"]


def test_tar_shards(spark, cluster, photos, tmp_path):
    """In and out by a JVM of the worker's own."""
    (tmp_path / "shards").mkdir()
    for name, letters in (("0.tar", "ABA"), ("1.tar", "BC")):
        write_tar(tmp_path / "shards" / name, [(f"{n}.jpg", photos[letter]) for n, letter in enumerate(letters)])
    copy(spark, f"file:{tmp_path}/shards", f"{cluster}/shards")
    for where in (str(tmp_path), cluster):
        run(spark, read_options(["--input", f"{where}/shards", "--output", f"{where}/tar-out"]))
    copy(spark, f"{cluster}/tar-out", f"file:{tmp_path}/back")
    here, there = (Result(tmp_path / name) for name in ("tar-out", "back"))
    assert here.dropped == there.dropped == {"0.tar#2": "0.tar#0", "1.tar#0": "0.tar#1"}
    for name in ("0.tar", "1.tar"):
        assert (there.folder / "kept" / name).read_bytes() == (here.folder / "kept" / name).read_bytes()


def test_a_data_node_that_dies_costs_nothing(spark, hdfs, photos, tmp_path, monkeypatch):
    """When the input has been looked at, and before pictures are read and anything is written."""
    table = pa.table({"id": list("012345"), "image": [photos[one] for one in "ABACDB"]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    copy(spark, f"file:{tmp_path}/rows.parquet", f"{hdfs.root}/dying/rows.parquet")
    left = []
    real = PrintStore.add

    def add(store: PrintStore, *arguments: Any) -> Any:
        if not left:
            hdfs.nodes.stopDataNode(0)
            left.append(hdfs.nodes.getDataNodes().size())
        return real(store, *arguments)

    monkeypatch.setattr(PrintStore, "add", add)
    options = ["--input", f"{hdfs.root}/dying/rows.parquet", "--id-col", "id", "--threshold", "4"]
    run(spark, read_options([*options, "--output", f"{hdfs.root}/dying/out", "--index", f"{hdfs.root}/dying/index"]))
    assert left == [2]
    copy(spark, f"{hdfs.root}/dying/out", f"file:{tmp_path}/out")
    result = Result(tmp_path / "out")
    assert [row["id"] for row in result.kept] == list("0134") and result.dropped == {"2": "0", "5": "1"}
