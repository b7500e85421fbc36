"""A source: rows that know where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage

PLACE = "__imgdedup_place"


ID = "__imgdedup_id"


@dataclass(frozen=True)
class Root:
    """Where one input lies.

    Attributes:
        folder: where relative image paths and the files' names start: the input itself, or what holds it.
        read: what is read: the folder, or (one of) the files.
        base: what Spark put before a path that has no scheme of its own, ``hdfs://name``; empty if local.
    """

    folder: str
    read: str
    base: str = ""


@dataclass(frozen=True)
class Source:
    """The rows to deduplicate.

    Attributes:
        frame: the user's columns, and ``PLACE`` and ``ID`` where they are known.
        columns: the user's columns, in their order.
        format: ``parquet``, ``jsonl``, ``images`` or a Spark data source's name; ``frame`` for a DataFrame.
        inputs: the inputs as the user wrote them.
        roots: where each input lies.
        in_pieces: places name file pieces, from which ids and order are computed.
        numbered: rows of a file are numbered by the file itself (Parquet), not by their place in a piece.
        partitioned: folders named ``key=value`` add columns that the files themselves do not have.
        read_as: the Spark data source that reads single files again; None if there are none to read.
    """

    frame: DataFrame
    columns: tuple[str, ...]
    format: str
    inputs: tuple[str, ...] = ("",)
    roots: tuple[Root, ...] = (Root("", ""),)
    in_pieces: bool = False
    numbered: bool = False
    partitioned: bool = False
    read_as: str | None = None

    @property
    def schema(self) -> StructType:
        """Of everything that can be read from a row, for the checks at the door."""
        return self.frame.drop(PLACE, ID).schema


def plain_path(uri: str) -> str:
    """A file as people write it, from how Spark lists it: ``file:/tmp/a%20b`` → ``/tmp/a b``."""
    return storage.absolute(storage.from_spark(uri))


def root_of(path: str, listed: str) -> Root:
    """Args:
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


def _place(index: int, row: Column | None) -> Column:
    """A row's place. Without row numbers of its own, a row is numbered by its order in a file's split: rows of
    one split are read by one task, in order, so `monotonically_increasing_id` ascends within it."""
    return F.struct(
        F.lit(index).alias("input"),
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("start"),
        F.col("_metadata.file_block_length").alias("length"),
        (F.monotonically_increasing_id() if row is None else row).alias("row"),
    ).alias(PLACE)


def united(
    frames: Sequence[DataFrame],
    kind: str,
    inputs: Sequence[str],
    roots: tuple[Root, ...],
    *,
    numbered: bool,
    partitioned: bool = False,
    read_as: str | None = None,
) -> Source:
    row = F.col("_metadata.row_index") if numbered else None
    # Columns first: `*` would not include the hidden `_metadata`, which must be resolved on the scan itself.
    placed = [frame.select("*", _place(index, row)) for index, frame in enumerate(frames)]
    try:
        frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), placed)
        columns = tuple(name for name in frame.columns if name != PLACE)
    except AnalysisException as error:
        raise UserError(f"--input: the inputs' columns do not go together: {first_line(error)}") from None
    return Source(frame, columns, kind, tuple(inputs), roots, True, numbered, partitioned, read_as)


def scan(source: Source, index: int, uris: Sequence[str]) -> DataFrame:
    """Some files of one input, with ``PLACE``, as ``source.frame`` has them."""
    assert source.read_as is not None
    # Braces and stars in a file's own name are no glob.
    paths = [re.sub(r"([][{}*?\\])", r"\\\1", plain_path(uri)) for uri in uris]
    reader = source.frame.sparkSession.read.format(source.read_as).schema(source.schema)
    if source.partitioned:
        reader = reader.option("basePath", source.roots[index].folder)
    frame = reader.load(paths)
    return frame.select("*", _place(index, F.col("_metadata.row_index") if source.numbered else None))


def prefixes(inputs: Sequence[str]) -> list[str]:
    """What tells files of the same name in several inputs apart: the input as given, numbered if given twice."""
    stems = [re.split(r"[*?\[{]", path, maxsplit=1)[0].rstrip("/") for path in inputs]
    return [f"{stem}/" if stems.count(stem) == 1 else f"{stem}[{index}]/" for index, stem in enumerate(stems)]


def on_same_file_system(path: str, source: Source) -> str:
    """An output without a scheme lies where Spark found the inputs without one: on its default file system."""
    bases = [root.base for root in source.roots if root.base]
    if not bases or not storage.is_local(path) or path.startswith("file:"):
        return path
    return f"{bases[0]}/{path.lstrip('/')}"


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
