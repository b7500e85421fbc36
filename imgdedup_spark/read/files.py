"""Reading: inputs of any kind become one DataFrame whose rows know where they stand.

A row's *place* is the struct column ``PLACE``: which input, which file, which piece of it (Spark's file split)
and which row. It is what makes ids and the input order independent of partitions; ``places`` turns it into them.
Where a row's id is known while reading, and is not a column of the user's, it is the column ``ID``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.read.folders import IMAGE_ENDINGS, read_images
from imgdedup_spark.read.frames import resolves
from imgdedup_spark.read.source import Root, Source, first_line, plain_path, root_of, united

PARQUET_ENDINGS = frozenset({"parquet", "pq"})


JSONL_ENDINGS = frozenset({"jsonl", "ndjson", "json"})


#: Data sources whose files can be read one by one; a table format's cannot.
PLAIN_FORMATS = frozenset({"csv", "orc", "avro", "text", "json", "parquet"})


COMPRESSED = frozenset({"gz", "bz2", "zst", "lz4", "snappy", "deflate"})


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
        return read_images(spark, inputs)
    roots = tuple(root_of(path, files[0]) for path, files in zip(inputs, listings, strict=True))
    partitioned = any(
        "=" in part for files in listings for uri in files[:1] for part in plain_path(uri).split("/")[:-1]
    )
    if kind == "parquet":
        frames = [_load(spark, "parquet", [path]) for path in inputs]
        return united(frames, kind, inputs, roots, numbered=True, partitioned=partitioned, read_as="parquet")
    # One schema for all of them: each input alone might infer other types for the same column.
    schema = _load(spark, "json", list(inputs)).schema
    frames = [_load(spark, "json", [path], schema) for path in inputs]
    return united(frames, kind, inputs, roots, numbered=False, partitioned=partitioned, read_as="json")


def _list_files(spark: SparkSession, path: str) -> list[str]:
    try:
        reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        files = reader.load(path).inputFiles()
    except AnalysisException as error:
        if "PATH_NOT_FOUND" in str(error) or "does not exist" in str(error):
            raise UserError(f"--input {path}: matches no file") from None
        raise UserError(f"--input {path}: {first_line(error)}") from None
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
        raise UserError(f"--input {' '.join(paths)}: {first_line(error)}") from None
    return frame


def _read_by_name(spark: SparkSession, inputs: Sequence[str], name: str) -> Source:
    frames = []
    for path in inputs:
        try:
            frame = spark.read.format(name).load(path)
            frame.schema  # noqa: B018 - Spark Connect reads lazily
        except Exception as error:
            # A missing data source is a Java exception of one kind in one version and another in the next.
            raise UserError(f"--input-format {name}: {first_line(error)}") from None
        frames.append(frame)
    roots = tuple(Root(path.rstrip("/"), path) for path in inputs)
    if all(resolves(frame, "_metadata.file_block_start") for frame in frames):
        numbered = all(resolves(frame, "_metadata.row_index") for frame in frames)
        read_as = name if name in PLAIN_FORMATS else None
        return united(frames, name, inputs, roots, numbered=numbered, read_as=read_as)
    frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    return Source(frame, tuple(frame.columns), name, tuple(inputs), roots)
