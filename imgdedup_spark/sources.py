"""Reading: inputs of any kind become one DataFrame whose rows know where they stand.

A row's *place* is the struct column ``PLACE``: which input, which file, which piece of it (Spark's file split)
and which row. It is what makes ids and the input order independent of partitions; ``places`` turns it into them.
Where a row's id is known while reading, and is not a column of the user's, it is the column ``ID``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imgdedup_spark import storage
from imgdedup_spark.errors import UserError

PLACE = "__imgdedup_place"
ID = "__imgdedup_id"

PARQUET_ENDINGS = frozenset({"parquet", "pq"})
JSONL_ENDINGS = frozenset({"jsonl", "ndjson", "json"})
#: Endings that a folder of images is searched for. Formats that cannot be decoded here are among them on
#: purpose: such a picture must show up in errors/, not vanish.
IMAGE_ENDINGS = frozenset(
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "gif",
        "bmp",
        "dib",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "ico",
        "jp2",
        "j2k",
        "jpx",
        "avif",
        "tga",
        "mpo",
        "heic",
        "heif",
        "jxl",
    ]
)
#: Data sources whose files can be read one by one; a table format's cannot.
PLAIN_FORMATS = frozenset({"csv", "orc", "avro", "text", "json", "parquet"})
COMPRESSED = frozenset({"gz", "bz2", "zst", "lz4", "snappy", "deflate"})


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


def read_source(spark: SparkSession, inputs: Sequence[str], input_format: str | None) -> Source:
    """Reads several files, folders or globs as one data set, in the order given.

    Raises:
        UserError: an input matches no file, the format cannot be told or is unknown, or columns disagree.
    """
    if input_format is not None and input_format not in ("parquet", "jsonl", "images"):
        return _read_by_name(spark, inputs, input_format)
    listings = [_list_files(spark, path) for path in inputs]
    kind = input_format or _format_of(inputs, listings)
    if kind == "images":
        return _read_images(spark, inputs)
    roots = tuple(root_of(path, files[0]) for path, files in zip(inputs, listings, strict=True))
    partitioned = any(
        "=" in part for files in listings for uri in files[:1] for part in plain_path(uri).split("/")[:-1]
    )
    if kind == "parquet":
        frames = [_load(spark, "parquet", [path]) for path in inputs]
        return _united(frames, kind, inputs, roots, numbered=True, partitioned=partitioned, read_as="parquet")
    # One schema for all of them: each input alone might infer other types for the same column.
    schema = _load(spark, "json", list(inputs)).schema
    frames = [_load(spark, "json", [path], schema) for path in inputs]
    return _united(frames, kind, inputs, roots, numbered=False, partitioned=partitioned, read_as="json")


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


def _list_files(spark: SparkSession, path: str) -> list[str]:
    try:
        reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        files = reader.load(path).inputFiles()
    except AnalysisException as error:
        if "PATH_NOT_FOUND" in str(error) or "does not exist" in str(error):
            raise UserError(f"--input {path}: matches no file") from None
        raise UserError(f"--input {path}: {_first_line(error)}") from None
    if not files:
        raise UserError(f"--input {path}: matches no file")
    return files


def _ending(uri: str) -> str:
    parts = plain_path(uri).rpartition("/")[2].lower().split(".")
    if len(parts) > 2 and parts[-1] in COMPRESSED:
        parts.pop()
    return parts[-1] if len(parts) > 1 else ""


def _format_of(inputs: Sequence[str], listings: Sequence[Sequence[str]]) -> str:
    found: Counter[str] = Counter()
    for path, files in zip(inputs, listings, strict=True):
        endings = {_ending(uri) for uri in files}
        kinds = {
            "parquet": endings & PARQUET_ENDINGS,
            "jsonl": endings & JSONL_ENDINGS,
            "images": endings & IMAGE_ENDINGS,
        }
        here = [kind for kind, some in kinds.items() if some]
        if not here:
            shown = ", ".join(sorted(f".{one}" for one in endings if one)[:5]) or "no ending"
            raise UserError(f"--input {path}: cannot tell the format from {shown}; say it with --input-format")
        found.update(here)
    if len(found) > 1:
        raise UserError(f"--input holds {' and '.join(sorted(found))} files; say with --input-format which to read")
    return next(iter(found))


def _load(spark: SparkSession, kind: str, paths: list[str], schema: StructType | None = None) -> DataFrame:
    reader = spark.read.format(kind)
    if schema is not None:
        reader = reader.schema(schema)
    try:
        frame = reader.load(paths)
        frame.schema  # noqa: B018 - Spark Connect finds out here what classic Spark finds out above
    except AnalysisException as error:
        raise UserError(f"--input {' '.join(paths)}: {_first_line(error)}") from None
    return frame


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


def _united(
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
        raise UserError(f"--input: the inputs' columns do not go together: {_first_line(error)}") from None
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


def _read_images(spark: SparkSession, inputs: Sequence[str]) -> Source:
    listings = []
    anycase = ["".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in one) for one in sorted(IMAGE_ENDINGS)]
    pattern = "*.{" + ",".join(anycase) + "}"
    frames, roots = [], []
    for index, path in enumerate(inputs):
        reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", pattern)
        frame = reader.load(path)
        files = frame.inputFiles()
        if not files:
            raise UserError(f"--input {path}: holds no image files (looked for .{', .'.join(sorted(IMAGE_ENDINGS))})")
        roots.append(root_of(path, files[0]))
        listings.append(files)
        # No pieces here: a folder may hold as many files as another data set has rows, too many for one list.
        path_here = F.regexp_replace("path", "^file:/+", "/")
        name = F.substring(path_here, len(roots[-1].folder.rstrip("/")) + 2, 1 << 20)
        place = F.struct(F.lit(index).alias("input"), name.alias("file"), F.lit(0).cast("long").alias("row"))
        frames.append(frame.select(path_here.alias("path"), F.col("content").alias("image"), place.alias(PLACE)))
    heads = prefixes(inputs) if _clash(listings, roots) else [""] * len(inputs)
    named = [
        frame.withColumn(ID, F.concat(F.lit(head), F.col(PLACE)["file"], F.lit("#0")))
        for frame, head in zip(frames, heads, strict=True)
    ]
    frame = reduce(DataFrame.unionByName, named)
    return Source(frame, ("path",), "images", tuple(inputs), tuple(roots), numbered=True)


def _clash(listings: Sequence[Sequence[str]], roots: Sequence[Root]) -> bool:
    """Whether two inputs have files of the same name."""
    if len(listings) == 1:
        return False
    names = [
        {plain_path(uri)[len(root.folder) :] for uri in files} for files, root in zip(listings, roots, strict=True)
    ]
    return len(set().union(*names)) < sum(map(len, names))


def prefixes(inputs: Sequence[str]) -> list[str]:
    """What tells files of the same name in several inputs apart: the input as given, numbered if given twice."""
    stems = [re.split(r"[*?\[{]", path, maxsplit=1)[0].rstrip("/") for path in inputs]
    return [f"{stem}/" if stems.count(stem) == 1 else f"{stem}[{index}]/" for index, stem in enumerate(stems)]


def _read_by_name(spark: SparkSession, inputs: Sequence[str], name: str) -> Source:
    frames = []
    for path in inputs:
        try:
            frame = spark.read.format(name).load(path)
            frame.schema  # noqa: B018 - Spark Connect reads lazily
        except Exception as error:
            # A missing data source is a Java exception of one kind in one version and another in the next.
            raise UserError(f"--input-format {name}: {_first_line(error)}") from None
        frames.append(frame)
    roots = tuple(Root(path.rstrip("/"), path) for path in inputs)
    if all(resolves(frame, "_metadata.file_block_start") for frame in frames):
        numbered = all(resolves(frame, "_metadata.row_index") for frame in frames)
        read_as = name if name in PLAIN_FORMATS else None
        return _united(frames, name, inputs, roots, numbered=numbered, read_as=read_as)
    frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    return Source(frame, tuple(frame.columns), name, tuple(inputs), roots)


def on_same_file_system(path: str, source: Source) -> str:
    """An output without a scheme lies where Spark found the inputs without one: on its default file system."""
    bases = [root.base for root in source.roots if root.base]
    if not bases or not storage.is_local(path) or path.startswith("file:"):
        return path
    return f"{bases[0]}/{path.lstrip('/')}"


def frame_source(frame: DataFrame, id_col: str | None) -> Source:
    """A DataFrame of the caller's.

    Its rows have no order of their own. Rows straight from Parquet files are ordered as in the files, others by
    ``id_col``; without either they are numbered once, and the numbered frame is persisted.
    """
    columns = tuple(frame.columns)
    if frame.inputFiles() and resolves(frame, "_metadata.row_index"):
        file, row = F.col("_metadata.file_path"), F.col("_metadata.row_index")
        place = F.struct(F.lit(0).alias("input"), file.alias("file"), row.alias("row")).alias(PLACE)
        if id_col is not None:
            return Source(frame.select("*", place), columns, "frame", numbered=True)
        shared = os.path.commonpath([_short_uri(uri).rpartition("/")[0] for uri in frame.inputFiles()])
        name = F.substring(file, len(shared) + 2, 1 << 20)
        return Source(
            frame.select("*", place, F.concat(name, F.lit("#"), row).alias(ID)), columns, "frame", numbered=True
        )
    if id_col is not None:
        return Source(frame, columns, "frame")
    # Persisted because the numbers must be the same at every reading, and nothing else makes them so.
    numbered = frame.withColumn(ID, F.monotonically_increasing_id()).persist()
    return Source(numbered, columns, "frame")


def _short_uri(uri: str) -> str:
    """``file:///tmp/a`` as file listings have it → ``file:/tmp/a`` as ``_metadata.file_path`` has it."""
    return re.sub(r"^file:/+", "file:/", uri)


def resolves(frame: DataFrame, name: str) -> bool:
    """Whether a hidden column is there. Spark 4 logs a failed look-up as an error even when it is expected."""
    import logging

    logger = logging.getLogger("DataFrameQueryContextLogger")
    disabled, logger.disabled = logger.disabled, True
    try:
        frame.select(name).schema  # noqa: B018
        return True
    except AnalysisException:
        return False
    finally:
        logger.disabled = disabled


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
