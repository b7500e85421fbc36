"""S3 with Spark's own keys: what comes out is what comes out on a local disk."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import MODE, classic_session, connect_session, write_tar
from PIL import Image, ImageFilter
from pyarrow import fs
from servers import KEY, SECRET, jars, need, s3a_settings, serving_s3

from imgdedup_spark import DedupConfig, deduplicate
from imgdedup_spark.commands import apply as apply_command
from imgdedup_spark.commands import explain as explain_command
from imgdedup_spark.config.command_line import read_options
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.files import access, sharing, storage
from imgdedup_spark.files.sharing import create_exclusively
from imgdedup_spark.job import run
from imgdedup_spark.spark.hadoop import create_by_condition, serve_storage
from imgdedup_spark.spark.stores import open_stores

pytestmark = need("s3a")
#: Conditional writes go through Spark's JVM.
ALONE = ["--index-single-writer"] if MODE == "connect" else []
#: Rows of the examples: pictures A to F, blurred ones (a small letter), and a broken one.
ROWS = "ABCaDEA?FBb"


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    with serving_s3() as port:
        yield port


@pytest.fixture(scope="module")
def s3(s3_port: int) -> Any:
    """The test's own way into the store, in which there is a bucket ``lake``."""
    store = fs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        endpoint_override=f"127.0.0.1:{s3_port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    store.create_dir("lake")
    return store


@pytest.fixture(scope="module")
def spark(s3_port: int) -> Iterator[Any]:
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.jars": jars("s3a"),
        # A bucket that Spark alone may open: nobody else encrypts as its setting asks for.
        "spark.hadoop.fs.s3a.bucket.vault.encryption.algorithm": "AES256",
    }
    session = (connect_session if MODE == "connect" else classic_session)(options | s3a_settings(s3_port))
    yield session
    session.stop()


@pytest.fixture(scope="module")
def pictures(photos: dict[str, bytes]) -> list[bytes]:
    def blurred(data: bytes) -> bytes:
        stream = io.BytesIO()
        Image.open(io.BytesIO(data)).filter(ImageFilter.GaussianBlur(1)).save(stream, "PNG")
        return stream.getvalue()

    found = {**photos, **{one: blurred(photos[one.upper()]) for one in "ab"}, "?": b"no picture"}
    return [found[one] for one in ROWS]


@pytest.fixture(scope="module")
def data(pictures: list[bytes], s3: fs.FileSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data in a local folder, which this is, and below ``lake/data`` and ``vault/data``."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("rows", "earlier", "lines", "pictures/sub folder", "shards", "lists"):
        (folder / name).mkdir(parents=True)
    ids = [f"r{number}" for number in range(len(ROWS))]
    pq.write_table(pa.table({"id": ids[:6], "image": pictures[:6]}), folder / "rows" / "a.parquet", row_group_size=2)
    pq.write_table(pa.table({"id": ids[6:], "image": pictures[6:]}), folder / "rows" / "b.parquet")
    pq.write_table(pa.table({"image": pictures[1:3]}), folder / "earlier" / "a.parquet")
    names = [f"{'sub folder/' if number % 3 else ''}{number:02} ü%20.png" for number in range(len(ROWS))]
    for name, picture in zip(names, pictures, strict=True):
        (folder / "pictures" / name).write_bytes(picture)
    lines = [json.dumps({"image": name, "n": 1.50}) + "\n" for name in [*names, "missing.png"]]
    (folder / "lines" / "a.jsonl").write_text("".join(lines), "utf-8")
    (folder / "lists" / "all.txt").write_text("".join(f"../pictures/{name}\n" for name in names), "utf-8")
    write_tar(folder / "shards" / "000.tar", [(f"{n:03}.png", picture) for n, picture in enumerate(pictures)])
    for bucket in ("lake", "vault"):
        s3.create_dir(bucket)
        fs.copy_files(str(folder), f"{bucket}/data", destination_filesystem=s3)
    return folder


CASES = {
    "rows": (["rows"], ["--threshold", 10, "--id-col", "id", "--show-num", 2]),
    "pictures by name": (["lines"], ["--image-root", "pictures"]),
    "folder": (["pictures"], []),
    "shards": (["shards"], []),
    "reference": (["rows/*.parquet"], ["--against", "earlier"]),
}


class Where:
    """A base, local or ``s3a://…``: runs a job below it, and reads what that has written."""

    def __init__(self, base: str, store: fs.FileSystem, root: str) -> None:
        self.base, self.store, self.root = base, store, root

    def run(self, spark: Any, inputs: list[str], options: list[Any], output: str) -> dict[str, Any]:
        folders = ("--image-root", "--against", "--index")
        given = [
            f"{self.base}/{one}" if before in folders else str(one)
            for before, one in zip(["", *options], options, strict=False)
        ]
        paths = [f"{self.base}/{one}" for one in inputs]
        return run(spark, read_options(["--input", *paths, "--output", f"{self.base}/{output}", *given]))

    def files(self, folder: str) -> dict[str, bytes]:
        found = self.store.get_file_info(fs.FileSelector(f"{self.root}/{folder}", recursive=True))
        return {
            one.path.rpartition("/")[2]: self.store.open_input_stream(one.path).read()
            for one in found
            if one.is_file and one.path.rpartition("/")[2][0] not in "._"
        }

    def table(self, folder: str) -> list[dict[str, Any]]:
        parts = [pq.read_table(io.BytesIO(data)).to_pylist() for _, data in sorted(self.files(folder).items())]
        return sorted((row for part in parts for row in part), key=str)


@pytest.fixture(scope="module")
def local(data: Path) -> Where:
    return Where(str(data), fs.LocalFileSystem(), str(data))


@pytest.fixture(scope="module")
def lake(data: Path, s3: fs.FileSystem) -> Where:
    return Where("s3a://lake/data", s3, "lake/data")


def same(here: Where, there: Where, output: str) -> None:
    def plain(rows: list[dict[str, Any]]) -> str:
        return str(rows).replace(there.base, here.base)

    for part in ("duplicates", "errors", "hashes"):
        assert plain(here.table(f"{output}/{part}")) == plain(there.table(f"{output}/{part}")), part


@pytest.mark.parametrize("case", CASES)
def test_as_on_a_local_disk(spark, local, lake, case):
    inputs, options = CASES[case]
    expected, found = (where.run(spark, inputs, options, f"out {case}") for where in (local, lake))
    assert found["rows_dropped"] == expected["rows_dropped"] > 0
    same(local, lake, f"out {case}")
    if case == "folder":  # its rows are the paths
        kept = (b"".join(where.files(f"out {case}/kept").values()) for where in (lake, local))
        assert next(kept).replace(lake.base.encode(), local.base.encode()) == next(kept)
    else:  # the workers have copied the rows: byte for byte
        assert lake.files(f"out {case}/kept") == local.files(f"out {case}/kept")
    assert found["storage"] == {"s3a://lake": "direct"} and "storage" in expected
    assert SECRET not in json.dumps(found)


def test_index_and_overwrite(spark, local, lake):
    for where in (local, lake):
        options = ["--index", "index", "--overwrite", *ALONE]
        days = [where.run(spark, [f"rows/{one}.parquet"], options, "day") for one in "ab"]
        assert [one["in_index"] for one in days] == [0, 3]
    same(local, lake, "day")
    assert lake.files("day/kept") == local.files("day/kept")


@pytest.mark.skipif(MODE == "connect", reason="Spark Connect gives no way to Hadoop's file systems")
def test_a_store_that_spark_alone_opens(spark, local, data, s3):
    vault = Where("s3a://vault/data", s3, "vault/data")
    for where in (local, vault):
        options = ["--index", "ix", "--id-col", "id", "--overwrite"]
        found = [where.run(spark, ["rows/a.parquet"], options, "sealed") for _ in range(2)][1]
    assert found["storage"] == {"s3a://vault": "spark"} and found["in_index"] > 0
    same(local, vault, "sealed")
    assert vault.table("sealed/kept") == local.table("sealed/kept")


@pytest.mark.skipif(MODE == "connect", reason="Spark Connect gives no way to Hadoop's file systems")
def test_commands_on_what_spark_alone_opens(spark, local, data, s3, tmp_path, capsys, monkeypatch):
    vault = Where("s3a://vault/data", s3, "vault/data")
    page, reviewed = tmp_path / "page.html", tmp_path / "reviewed.csv"
    reviewed.write_text("id,kept_id\n")
    said, kept = [], []
    for where in (local, vault):
        where.run(spark, ["rows"], ["--threshold", 10, "--id-col", "id"], "looked through")
        output, asked = f"{where.base}/looked through", []

        def session(config: JobConfig, asked: list[JobConfig] = asked) -> Any:
            asked.append(config)
            return nullcontext(spark)

        # As a process that knows nothing of the run.
        access.use({})
        monkeypatch.setattr(storage, "_more_openers", [])
        storage._opened.cache_clear()
        assert explain_command.run(["r3", "--output", output, "--html", str(page)], session) == 0
        assert len(asked) == (where is vault)
        assert "data:image" in page.read_text()
        said.append(capsys.readouterr().out)
        apply_command.run(["--output", output, "--duplicates", str(reviewed)], session)
        kept.append(len(where.table("looked through/kept")))
    assert said[0] == said[1] and "r0" in said[0]
    assert kept == [len(ROWS)] * 2


def creations(spark, bucket: str) -> list[int]:
    """How many of two that create a file at the same moment have created it, for many files."""
    serve_storage()
    open_stores(spark, [("--index", f"s3a://{bucket}/manifests")])
    begin = threading.Barrier(2)

    def create(number: int, who: str) -> bool:
        begin.wait()
        return create_exclusively(f"s3a://{bucket}/manifests/{number:08}.json", who)

    with ThreadPoolExecutor(2) as pool:
        each = [list(pool.map(create, [number] * 2, "ab")) for number in range(200)]
    assert not any(create_exclusively(f"s3a://{bucket}/manifests/{number:08}.json", "c") for number in range(3))
    return [sum(some) for some in each]


@pytest.mark.skipif(MODE == "connect", reason="Spark Connect gives no way to conditional writes")
@pytest.mark.parametrize("bucket", ["lake", "vault"], ids=["direct", "by Spark"])
def test_one_of_two_commits_wins(spark, data, bucket, monkeypatch):
    # Nobody looks before creating: the store alone decides.
    monkeypatch.setattr(sharing.storage, "exists", lambda uri: False)
    assert creations(spark, bucket) == [1] * 200


@pytest.mark.skipif(MODE == "connect", reason="Spark Connect gives no way to conditional writes")
def test_a_store_without_conditions_is_told(spark, data):
    with serving_s3("--no-conditions") as port:
        hadoop = spark.sparkContext._jsc.hadoopConfiguration()
        for name, value in s3a_settings(port).items():
            hadoop.set(name.replace("spark.hadoop.fs.s3a.", "fs.s3a.bucket.plain."), value)
        client = fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        client.create_dir("plain")
        assert create_by_condition("s3a://plain/a", b"a") is None
    assert create_by_condition("s3a://lake/a", b"a") is True
    assert create_by_condition("s3a://lake/a", b"b") is False


def test_dataframe(spark, lake):
    df = spark.read.parquet("s3a://lake/data/rows")
    result = deduplicate(
        df, DedupConfig(threshold=10), id_col="id", index="s3a://lake/python index", index_single_writer=bool(ALONE)
    )
    assert {row.id for row in result.duplicates.collect()} == {"r3", "r6", "r9", "r10"}
    result.close()


@pytest.mark.skipif(MODE == "connect", reason="starts its own session")
@pytest.mark.parametrize("case", ["wrong key", "no bucket"])
def test_a_wrong_key_is_one_line(s3_port, case, tmp_path):
    settings = s3a_settings(s3_port, "somebody-else") if case == "wrong key" else s3a_settings(s3_port)
    conf = [f"--conf {name}={value}" for name, value in {**settings, "spark.ui.enabled": "false"}.items()]
    submitted = f"--master local[1] --jars {jars('s3a')} {' '.join(conf)} pyspark-shell"
    place = "s3a://lake/data/rows" if case == "wrong key" else "s3a://no-such-bucket/rows"
    done = subprocess.run(
        [sys.executable, "-m", "imgdedup_spark.cli", "--input", place, "--output", str(tmp_path / "out")],
        env={**os.environ, "PYSPARK_SUBMIT_ARGS": submitted},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 2 and len(said) == 1, done.stderr
    assert place in said[0] and SECRET not in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
