"""What ``tests/kill_restart.py`` does, on a store: ``python tests/lakes/kills.py s3|hdfs [--times 20]`` (needs what
``make test-lakes`` brings).

Spark's settings alone know the keys of the S3 server; the workers read HDFS through Spark.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import kill_restart
from kill_restart import Home
from pyarrow import fs
from servers import KEY, SECRET, Hdfs, jars, s3a_settings, serving_hdfs, serving_s3


class Bucket(Home):
    """A bucket, with folders of the same names as here."""

    def __init__(self, port: int) -> None:
        super().__init__(s3a_settings(port) | {"spark.jars": jars("s3a")})
        self._store = fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, endpoint_override=f"127.0.0.1:{port}", scheme="http",
            region="us-east-1", allow_bucket_creation=True, allow_bucket_deletion=True,
        )  # fmt: skip
        self._store.create_dir("lake")

    def uri(self, path: Path) -> str:
        return f"s3a://lake{path}"

    def put(self, path: Path) -> None:
        self._store.delete_dir_contents(f"lake{path}", missing_dir_ok=True)
        fs.copy_files(str(path), f"lake{path}", destination_filesystem=self._store)

    def get(self, path: Path) -> None:
        for name in ("out", "index"):
            shutil.rmtree(path / name, ignore_errors=True)
            if self._store.get_file_info(f"lake{path}/{name}").type == fs.FileType.Directory:
                fs.copy_files(f"lake{path}/{name}", str(path / name), source_filesystem=self._store)


class Cluster(Home):
    """HDFS, with folders of the same names as here."""

    def __init__(self, hdfs: Hdfs) -> None:
        super().__init__()
        self._root, self._path = hdfs.root, hdfs.java.org.apache.hadoop.fs.Path
        self._store = hdfs.nodes.getFileSystem()

    def uri(self, path: Path) -> str:
        return f"{self._root}{path}"

    def put(self, path: Path) -> None:
        there = self._path(self.uri(path))
        self._store.delete(there, True)
        self._store.mkdirs(there.getParent())
        self._store.copyFromLocalFile(self._path(path.as_uri()), there)

    def get(self, path: Path) -> None:
        for name in ("out", "index"):
            shutil.rmtree(path / name, ignore_errors=True)
            there = self._path(self.uri(path / name))
            if self._store.exists(there):  # as the local disk is, without files of checksums
                self._store.copyToLocalFile(False, there, self._path((path / name).as_uri()), True)


@contextmanager
def home(store: str) -> Iterator[Home]:
    with tempfile.TemporaryDirectory() as folder:
        if store == "s3":
            with serving_s3() as port:
                yield Bucket(port)
        else:
            with serving_hdfs(Path(folder)) as cluster:
                yield Cluster(cluster)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", choices=("s3", "hdfs"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with home(options.store) as there:
        sys.exit(kill_restart.main(there, options.times, options.seed))
