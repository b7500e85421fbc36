"""File systems that only Spark's JVM opens: Hadoop's own ``viewfs``, mounted on a local folder; the same under a name
that nothing here knows, as a vendor's."""

from __future__ import annotations

import base64
import json
import pickle

import conftest
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.access import Carried
from imgdedup_spark.index.manifest import Index, Run
from imgdedup_spark.spark.hadoop import serve_storage
from imgdedup_spark.spark.stores import open_stores

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(conftest.MODE != "classic", reason="Spark Connect gives no way to Hadoop's file systems"),
]


@pytest.fixture(params=["viewfs", "vendor"])
def mounted(spark, tmp_path, request):
    """A local folder, and its URL."""
    serve_storage()
    name = f"mount{abs(hash(str(tmp_path)))}"
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    conf.set("fs.vendor.impl", "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme")
    conf.set("fs.viewfs.overload.scheme.target.vendor.impl", "org.apache.hadoop.fs.LocalFileSystem")
    conf.set(f"fs.viewfs.mounttable.{name}.link./data", tmp_path.as_uri())
    return tmp_path, f"{request.param}://{name}/data"


def test_files_and_folders(mounted):
    folder, root = mounted
    uri = storage.join(root, "new", "é 1%20.txt")
    assert not storage.exists(uri) and storage.is_empty_or_missing(root)
    storage.write_text(uri, "one")
    storage.write_text(uri, "two é")
    assert (folder / "new" / "é 1%20.txt").read_text("utf-8") == storage.read_text(uri) == "two é"
    assert storage.list_files(root) == [] and storage.list_files(root, recursive=True) == [uri]
    [(name, changed)] = [one for one in storage.list_changes(root) if not one[0].endswith(".crc")]
    assert name == "new/é 1%20.txt" and abs(changed - (folder / name).stat().st_mtime) < 1
    storage.move_files(storage.join(root, "new"), storage.join(root, "other"))
    assert storage.list_files(storage.join(root, "other")) == [storage.join(root, "other", "é 1%20.txt")]
    storage.delete(root + "/other")
    storage.delete(root + "/other")
    assert not (folder / "other").exists()
    with pytest.raises(OSError, match=r"does not exist|FileNotFound"):
        storage.read_text(uri)
    opened, path = storage.open_fs(root)
    with pytest.raises(FileNotFoundError):
        opened.get_file_info(fs.FileSelector(path + "/nowhere"))
    with pytest.raises(UserError):
        storage.check_workers(root)
    with pytest.raises(UserError, match=r"cannot be opened|needs a library"):
        storage.exists("nosuchscheme://here/x")


@pytest.mark.parametrize(("mounted", "kind"), [("viewfs", "parquet"), ("vendor", "jsonl")], indirect=["mounted"])
@pytest.mark.long
def test_the_job_gives_the_same_there(run, photos, mounted, kind):
    """Two days with an index, the second again; all of it on the mounted file system, and all on the local one."""
    folder, root = mounted
    days = ["ABACD", "BEFDE"]
    for number, day in enumerate(days):
        rows = {"id": [f"{number}{place}" for place in range(5)], "image": [photos[letter] for letter in day]}
        if kind == "parquet":
            pq.write_table(pa.table(rows), folder / f"{number}.parquet")
        else:
            lines = [
                json.dumps({"id": row_id, "image": base64.b64encode(image).decode()})
                for row_id, image in zip(rows["id"], rows["image"], strict=True)
            ]
            (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    # Of a vendor's store nothing is known that keeps two runs apart, so that it wants to hear that there is one.
    alone = ["--index-single-writer"] if root.startswith("vendor") else []
    found = []
    for where, index in ((root, storage.join(root, "index-there")), (str(folder), str(folder / "index-here"))):
        here = []
        for number in (0, 1, 1):
            name = f"out-{len(found)}-{number}"
            config = ("--index", index, "--run-id", f"day{number}", "--id-col", "id", "--threshold", 4, *alone)
            run_into(run, f"{where}/{number}.{kind}", f"{where}/{name}", *config)
            result = conftest.Result(folder / name)
            reasons = sorted((row["id"], row["kept_id"], row["reason"]) for row in result.table("duplicates"))
            here.append((result.kept, reasons, result.summary["rows_kept"]))
        found.append(here)
    assert found[0] == found[1]
    assert found[0][1] == found[0][2]
    assert [row["id"] for row in found[0][0][0]] == ["00", "01", "03", "04"]
    assert found[0][1][1] == [("10", "01", "in_index"), ("13", "04", "in_index"), ("14", "11", "same_hash")]
    states = [Index(storage.join(root, "index-there")).read(), Index(str(folder / "index-here")).read()]
    assert [[(one.run, one.rows) for one in state.runs] for state in states] == [[("day0", 4), ("day1", 2)]] * 2


def run_into(run, source, target, *options):
    """``run`` writes into a folder of the test's own; this one anywhere."""
    run(source, "--output", target, "--overwrite", *options)


def test_a_second_commit_is_refused(mounted):
    index = Index(storage.join(mounted[1], "index"))
    before = index.read()
    index.commit(before, before.with_run(Run("a", "data/run=a/x", 0, True), {}))
    with pytest.raises(JobError, match="another run"):
        index.commit(before, before.with_run(Run("b", "data/run=b/x", 0, True), {}))
    assert [run.run for run in index.read().runs] == ["a"]


@pytest.fixture
def in_a_worker(spark, mounted):
    """Calls a function in a worker, as what reads pictures there: with the ways that the driver has found."""
    open_stores(spark, [("--input", mounted[1])])

    def call(function):
        work = Carried(function)

        def answer(batches):
            found = pickle.dumps(work())
            for batch in batches:
                if batch.num_rows:
                    yield pa.RecordBatch.from_pydict({"found": [found]})

        return pickle.loads(spark.range(0, 1, 1, 1).mapInArrow(answer, "found binary").first()["found"])

    return call


@pytest.mark.parametrize("mounted", ["viewfs"], indirect=True)
@pytest.mark.long
def test_a_worker_reads_files_of_any_size_and_starts_its_jvm_again(mounted, in_a_worker):
    folder, root = mounted
    (folder / "large").write_bytes(bytes(range(256)) * (400 << 10))
    (folder / "small").write_bytes(b"small")

    def read_with_a_death():
        from imgdedup_spark.spark import worker_jvm

        opened, path = storage.open_fs(f"{root}/large")
        sizes = [len(opened.open_input_stream(path).read())]
        before = worker_jvm._mine[1]
        before.kill()
        before.wait()
        opened, path = storage.open_fs(f"{root}/small")
        sizes.append(len(opened.open_input_stream(path).read()))
        return sizes, worker_jvm._mine[1].pid != before.pid

    assert in_a_worker(read_with_a_death) == ([100 << 20, 5], True)


@pytest.mark.parametrize("mounted", ["viewfs"], indirect=True)
def test_a_worker_that_can_start_no_jvm_says_so(mounted, in_a_worker):
    root = mounted[1]

    def fail():
        from imgdedup_spark.spark import worker_jvm

        worker_jvm._mine, worker_jvm._OPTIONS = None, ("-Xmx1", "-Xms1g")
        storage._opened.cache_clear()
        try:
            storage.open_fs(root)
        except storage.SparkAlone as error:
            return str(error)

    assert f"{root.removesuffix('/data')}: no JVM of the worker's own starts: " in in_a_worker(fail)


@pytest.mark.parametrize("mounted", ["viewfs", "vendor"], indirect=True)
def test_pictures_that_rows_name_there(run, photos, mounted):
    """By the folder of the rows, by URL, by a URL with an escape, and some that are not to be had."""
    folder, root = mounted
    (folder / "pictures").mkdir()
    for letter in "AB":
        (folder / "pictures" / f"{letter} é.png").write_bytes(photos[letter])
    names = [
        "pictures/A é.png", f"{root}/pictures/A é.png", f"{root}/pictures/B%20é.png", "pictures/B é.png",
        "pictures/C.png", "pictures", "../../B é.png", f"{root.partition(':')[0]}://elsewhere/B.png",
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps({"image": one}) + "\n" for one in names))
    result = run(f"{root}/rows.jsonl", "--method", "md5", "--on-error", "keep")
    assert [row["image"] for row in result.kept[:2]] == [names[0], names[2]]
    codes = [error["error"] for error in result.table("errors")]
    assert codes == ["not_found", "not_a_file", "forbidden_path", "forbidden_path"]


def test_tar_shards_there(run, photos, mounted):
    """One that is broken among them; shards of the same names come out, byte for byte those of a local run."""
    folder, root = mounted
    for name, mode, letters in (("0.tar", "w", "ABA"), ("1.tar.gz", "w:gz", "BC"), ("2.tar", "w", "CD")):
        (folder / "shards").mkdir(exist_ok=True)
        files = [(f"{number}.jpg", photos[letter]) for number, letter in enumerate(letters)]
        conftest.write_tar(folder / "shards" / name, files, mode)
    whole = (folder / "shards" / "2.tar").read_bytes()
    (folder / "shards" / "2.tar").write_bytes(whole[: len(photos["C"]) + 2048])
    run_into(run, f"{root}/shards", f"{root}/out")
    there = conftest.Result(folder / "out")
    here = run(folder / "shards")
    assert there.dropped == {"0.tar#2": "0.tar#0", "1.tar.gz#0": "0.tar#1", "2.tar#0": "1.tar.gz#1"}
    assert [row["error"] for row in there.table("errors")] == ["bad_row"]
    assert [(there.folder / "kept" / name).read_bytes() for name in ("0.tar", "1.tar.gz", "2.tar")] == [
        (here.folder / "kept" / name).read_bytes() for name in ("0.tar", "1.tar.gz", "2.tar")
    ]
    assert there.table("duplicates") == here.table("duplicates") and there.table("errors") == here.table("errors")
