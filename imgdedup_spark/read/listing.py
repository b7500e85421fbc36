"""What lies in the inputs, as the driver (or, through Spark Connect, one worker) finds it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress
from operator import not_
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.access import Carried
from imgdedup_spark.files.listing import Listed, PassedOver, Walk
from imgdedup_spark.read.source import FileState, Root
from imgdedup_spark.spark.hadoop import default_file_system


@dataclass(frozen=True)
class Listing:
    """What lies in the inputs.

    Attributes:
        inputs: as the user wrote them.
        roots: where each of them lies.
        files: those of each, by name.
        passed: what is not read, and why.
    """

    inputs: tuple[str, ...]
    roots: tuple[Root, ...]
    files: tuple[tuple[Listed, ...], ...]
    passed: PassedOver = field(default_factory=PassedOver)

    @classmethod
    def of(cls, spark: SparkSession, inputs: Sequence[str], *, count_hard_links: bool = False) -> Listing:
        """Lists the inputs. What neither this process nor the workers open by themselves, Spark lists.

        Raises:
            UserError: an input is not there.
        """
        base = default_file_system()
        paths = [f"{base}/{path.lstrip('/')}" if base and storage.is_local(path) else path for path in inputs]
        try:
            found, passed = _walked(spark, paths, count_hard_links)
        except storage.UnsupportedScheme:
            found, passed = [_by_spark(spark, path) for path in paths], PassedOver()
        roots, files = zip(
            *[
                (_root(path, folder, some, base), tuple(some))
                for path, (folder, some) in zip(paths, found, strict=True)
            ],
            strict=True,
        )
        return cls(tuple(inputs), roots, files, passed)

    def only(self, is_wanted: Callable[[Listed], bool], reason: str = "other_format") -> Listing:
        """Some of the files; the others are passed over for the reason.

        Raises:
            UserError: an input has none of them.
        """
        files = []
        for some in self.files:
            wanted = [is_wanted(one) for one in some]
            files.append(tuple(compress(some, wanted)))
            for one in compress(some, map(not_, wanted)):
                self.passed.add(reason, one.uri)
        return Listing(self.inputs, self.roots, tuple(files), self.passed)

    def keys_beside(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of folders named ``key=value`` that add columns: the files' own, ``names``, win over them. Those that
        differ in case alone are one."""
        taken = {name.lower() for name in names}
        parts = [part for files in self.files for one in files for part in one.name.split("/")[:-1] if "=" in part[1:]]
        keys: dict[str, str] = {}
        for key in dict.fromkeys(part.partition("=")[0] for part in parts):
            keys.setdefault(key.lower(), key)
        return tuple(key for small, key in keys.items() if small not in taken)

    @property
    def names_clash(self) -> bool:
        """Whether two inputs have files of the same name."""
        names = [one.name for files in self.files for one in files]
        return len(set(names)) < len(names)

    def states(self) -> list[FileState]:
        """The files as prints are stored for them."""
        return [
            FileState(index, storage.encoded(one.uri), one.size, one.time)
            for index, files in enumerate(self.files)
            for one in files
        ]

    def state(self, index: int) -> FileState:
        """A whole input as one entry: bytes, and a checksum of names, sizes and times in the place of a time."""
        files = self.files[index]
        text = json.dumps([(one.uri, one.size, one.time) for one in files]).encode()
        checksum = int.from_bytes(hashlib.sha256(text).digest()[:7], "little")
        return FileState(index, storage.encoded(self.inputs[index]), sum(one.size for one in files), checksum)


def _walked(
    spark: SparkSession, paths: Sequence[str], count_hard_links: bool
) -> tuple[list[tuple[str, list[Listed]]], PassedOver]:
    """The folder and the files of each input."""
    if not is_remote():
        walk = Walk(count_hard_links=count_hard_links)
        return [walk.files(path) for path in paths], walk.passed
    found = (
        spark.range(1).repartition(1).mapInArrow(Carried(_walking(paths, count_hard_links)), "found string").collect()
    )
    answer = json.loads(found[0]["found"])
    if "unsupported" in answer:
        raise storage.UnsupportedScheme(answer["unsupported"])
    if "error" in answer:
        raise UserError(answer["error"])
    files = [(folder, [Listed(**one) for one in some]) for folder, some in answer["files"]]
    return files, PassedOver(answer["passed"])


def _walking(paths: Sequence[str], count_hard_links: bool) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """The worker's side: the disk of a client of Spark Connect is not that of the workers."""

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        walk = Walk(count_hard_links=count_hard_links)
        answer: dict[str, Any] = {}
        try:
            files = [walk.files(path) for path in paths]
            answer = {"files": [(folder, [asdict(one) for one in some]) for folder, some in files]}
            answer["passed"] = walk.passed.reasons
        except storage.UnsupportedScheme as error:
            answer = {"unsupported": str(error)}
        except UserError as error:
            answer = {"error": str(error)}
        for batch in batches:
            if batch.num_rows:
                yield pa.RecordBatch.from_pydict({"found": [json.dumps(answer)]})

    return work


def _by_spark(spark: SparkSession, path: str) -> tuple[str, list[Listed]]:
    """As Spark lists it: without names that begin with ``_`` or ``.``."""
    try:
        rows = _states(spark, [path]).collect()
    except AnalysisException as error:
        if "PATH_NOT_FOUND" in str(error) or "does not exist" in str(error):
            raise UserError(f"--input {path}: matches no file") from None
        raise UserError(f"--input {path}: {first_line(error)}") from None
    if not rows:
        raise UserError(f"--input {path}: matches no file")
    root = root_of(path, rows[0]["uri"]).folder.rstrip("/") + "/"
    files = [
        Listed(uri, uri.removeprefix(root), row["size"], row["time"])
        for row, uri in ((row, plain_path(row["uri"])) for row in rows)
    ]
    return root.rstrip("/"), sorted(files, key=lambda one: one.name)


def spark_states(spark: SparkSession, number: int, paths: Sequence[str]) -> list[FileState]:
    """Files with the URIs that Spark's ``_metadata`` has."""
    rows = _states(spark, paths).collect()
    return sorted((FileState(number, one["uri"], one["size"], one["time"]) for one in rows), key=lambda one: one.uri)


def _states(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    found = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(list(paths))
    return found.select(
        F.col("_metadata.file_path").alias("uri"),
        F.col("_metadata.file_size").alias("size"),
        (F.col("_metadata.file_modification_time").cast("double") * 1000).cast("long").alias("time"),
    )


def _root(path: str, folder: str, files: Sequence[Listed], base: str) -> Root:
    is_folder = storage.absolute(path).rstrip("/") == folder.rstrip("/")
    return Root(folder, folder if is_folder or not files else files[0].uri, base)


def plain_path(uri: str) -> str:
    """A file as people write it, from how Spark lists it: ``file:/tmp/a%20b`` → ``/tmp/a b``."""
    return storage.absolute(storage.from_spark(uri))


def root_of(path: str, listed: str) -> Root:
    """Where an input lies.

    Args:
        path: an input as the user wrote it: a file, a folder or a glob.
        listed: one of its files, as Spark lists it.
    """
    file = plain_path(listed)
    stem = re.split(r"[*?\[{]", path, maxsplit=1)[0]
    is_glob = stem != path
    if is_glob:
        stem = stem[: stem.rfind("/") + 1] or "."
    base = ""
    if storage.is_local(file):
        stem = storage.absolute(stem)
    elif storage.is_local(stem):
        # A path on the cluster's default file system: what Spark lists has its scheme and authority.
        scheme, authority, _ = storage.split_uri(file)
        base = file[: file.index("//") + 2] + authority if "//" in file else f"{scheme}:"
        inner = "/" + stem.strip("/")
        end = file.find(inner + "/", len(base)) if not file.endswith(inner) else len(file) - len(inner)
        stem = file[: end + len(inner)] if end >= 0 else file.rpartition("/")[0]
    stem = stem.rstrip("/") or "/"
    if file == stem:
        return Root(file.rpartition("/")[0] or "/", file, base)
    return Root(stem, file if is_glob else stem, base)
