"""What lies in an input: its files, as Spark lists them, and where the input lies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.read.source import FileState, Root


def plain_path(uri: str) -> str:
    """A file as people write it, from how Spark lists it: ``file:/tmp/a%20b`` → ``/tmp/a b``."""
    return storage.absolute(storage.from_spark(uri))


@dataclass(frozen=True)
class Listing:
    """What lies in the inputs.

    Attributes:
        inputs: as the user wrote them.
        uris: the files of each, in sub-folders too.
    """

    inputs: tuple[str, ...]
    uris: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, spark: SparkSession, inputs: Sequence[str], endings: Sequence[str] = ()) -> Listing:
        """Args:
            endings: of the files' names, in any case; none for all.

        Raises:
            UserError: an input has no such files.
        """
        return cls(tuple(inputs), tuple(tuple(_uris(spark, path, endings)) for path in inputs))

    @property
    def roots(self) -> tuple[Root, ...]:
        """Where each input lies."""
        return tuple(root_of(path, files[0]) for path, files in zip(self.inputs, self.uris, strict=True))

    @property
    def partitioned(self) -> bool:
        """Whether folders named ``key=value`` add columns."""
        return any("=" in part for files in self.uris for part in plain_path(files[0]).split("/")[:-1])

    @property
    def names_clash(self) -> bool:
        """Whether two inputs have files of the same name."""
        if len(self.inputs) == 1:
            return False
        names = [
            {plain_path(uri)[len(root.folder) :] for uri in files}
            for files, root in zip(self.uris, self.roots, strict=True)
        ]
        return len(set().union(*names)) < sum(map(len, names))


def all_files(spark: SparkSession, path: str, endings: Sequence[str] = ()) -> DataFrame:
    """Every file of an input with its content, as Spark reads files of any kind."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    if endings:
        anycase = ["".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in one) for one in sorted(endings)]
        reader = reader.option("pathGlobFilter", "*.{" + ",".join(anycase) + "}")
    return reader.load(path)


def _uris(spark: SparkSession, path: str, endings: Sequence[str]) -> list[str]:
    try:
        files: list[str] = all_files(spark, path, endings).inputFiles()
    except AnalysisException as error:
        if "PATH_NOT_FOUND" in str(error) or "does not exist" in str(error):
            raise UserError(f"--input {path}: matches no file") from None
        raise UserError(f"--input {path}: {first_line(error)}") from None
    if files:
        return files
    if endings:
        raise UserError(f"--input {path}: holds no image files (looked for .{', .'.join(sorted(endings))})")
    raise UserError(f"--input {path}: matches no file")


def list_states(spark: SparkSession, number: int, path: str) -> list[FileState]:
    """The files of an input with size and time, by name."""
    return sorted(
        (FileState(number, one["uri"], one["size"], one["time"]) for one in _states(spark, path).collect()),
        key=lambda one: one.uri,
    )


def folder_state(spark: SparkSession, number: int, path: str) -> FileState:
    """A whole input as one entry, for one that may hold too many files to list: bytes, and a checksum of names, sizes
    and times in the place of a time."""
    every = F.expr("bit_xor(xxhash64(uri, size, time))")
    found = _states(spark, path).agg(F.sum("size").alias("size"), every.alias("time")).collect()[0]
    return FileState(number, path, found["size"] or 0, found["time"] or 0)


def _states(spark: SparkSession, path: str) -> DataFrame:
    return all_files(spark, path).select(
        F.col("_metadata.file_path").alias("uri"),
        F.col("_metadata.file_size").alias("size"),
        (F.col("_metadata.file_modification_time").cast("double") * 1000).cast("long").alias("time"),
    )


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
