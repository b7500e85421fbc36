"""Hashing as a Spark stage: rows in, one small fingerprint a row out. No image leaves this stage.

Columns of a fingerprint besides the row's place and id:

- ``imagehash``: lower-case hex, the pictures' hashes one after another; null where a picture is unreadable
- ``vector``: in the place of hashes, if rows are compared by embeddings (see ``vectors``); ``imagehash`` is null then
- ``verify0``, ``verify1``, …: the same for each ``--verify``
- ``images``: how many pictures the row has
- ``texthash``: MD5 of the normalised text, hex; null without a text
- ``width``, ``height``: of the row's first picture, upright, in pixels
- ``bytes``, ``pixels``: of all the row's pictures together
- ``errors``: array of (position, error, message), empty where all is well
- ``digest``, ``known``, for a run that remembers (``remembered``): of the bytes of a row's only picture; how many
  pictures were not decoded because their bytes were known
- ``term0``, ``term1``, …: the row's own columns that ``--keep`` sorts by
"""

from __future__ import annotations

import string
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, NullType, StringType, StructField, StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.hash.encoder import encoder_spec
from imgdedup_spark.hash.prints import ERROR_TYPE, MEASURED, REMEMBERED, key_parts
from imgdedup_spark.hash.remembered import Memory, RememberingHasher
from imgdedup_spark.hash.vectors import read_ready
from imgdedup_spark.hash.worker import HashPictures, PictureHasher, Rows
from imgdedup_spark.kernels.encoders.embedder import Embedder, Encoder
from imgdedup_spark.kernels.hashes import Hasher
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.read.columns import as_numbers, col, image_column, row_terms
from imgdedup_spark.read.source import ID, PLACE, Source

# What `ignore_non_character` drops: digits, white space and punctuation of every script, and the ASCII
# punctuation that Unicode counts among the symbols.
_NON_CHARACTER = r"[\p{Nd}\s\u0085\p{Z}\p{P}" + "".join("\\" + c for c in string.punctuation) + "]+"


def fingerprint(source: Source, config: DedupConfig, memory: Memory | None = None) -> DataFrame:
    """One row of hashes and sizes for each row of the source (lazy).

    Args:
        memory: pictures that need no decoding; None for a run that does not remember.

    Raises:
        UserError: the image column is missing or of a wrong type.
    """
    kept = [*_identity(source, config), *_text(config)]
    kept += [col(name).alias(f"term{i}") for i, name in enumerate(row_terms(config))]
    if config.is_embedding:
        kept.append(F.lit(None).cast("string").alias("imagehash"))
    if config.embedding_col:
        numbers = as_numbers(col(config.embedding_col), source.schema[config.embedding_col].dataType)
        return _ready_vectors(source.frame.select(*kept, numbers.alias("ready")))
    if config.hash_col:
        ready = col(config.hash_col)
        kind = source.schema[config.hash_col].dataType
        return _ready_hashes(source.frame.select(*kept, ready.alias("ready")), kind.simpleString())
    image = image_column(source.schema, config)
    assert image is not None
    pictures = col(image)
    if isinstance(source.schema[image].dataType, NullType):
        pictures = pictures.cast("binary")
    direct = _reads_directly(source)
    frame = source.frame.select(*kept, *([] if direct else [pictures.alias("image")]))
    roots = (config.image_root,) if config.image_root else tuple(root.folder for root in source.roots)
    rules = PathRules(roots, config.image_root is not None)
    names = key_parts(config)
    work = HashPictures(
        _hasher(config, memory),
        PictureReader(rules),
        bool(config.image_root),
        ColumnReader(image) if direct else None,
        names,
        b"" if config.is_embedding else "",
    )
    kind = BinaryType() if config.is_embedding else StringType()
    fields = [one for one in frame.schema.fields if one.name != "image"]
    fields += [StructField(name, kind) for name in names] + MEASURED
    fields += [] if memory is None else REMEMBERED
    return frame.mapInArrow(work, StructType(fields))


def _hasher(config: DedupConfig, memory: Memory | None) -> PictureHasher:
    if config.is_embedding:
        return Embedder(Encoder(encoder_spec(config), config.max_pixels))
    hasher = Hasher(config.specs, config.decode, config.max_pixels)
    return hasher if memory is None else RememberingHasher(hasher, memory)


def _reads_directly(source: Source) -> bool:
    """Whether workers can read the pictures from the Parquet files themselves."""
    if source.format != "parquet" or not source.in_pieces:
        return False
    try:
        storage.check_workers(source.roots[0].read)
    except UserError:
        return False
    return True


def _identity(source: Source, config: DedupConfig) -> list[Column]:
    columns = []
    if config.id_col:
        columns.append(col(config.id_col).alias("id"))
    elif ID in source.frame.columns:
        columns.append(F.col(ID).alias("id"))
    if PLACE in source.frame.columns:
        columns.append(F.col(PLACE))
    return columns


def _text(config: DedupConfig) -> list[Column]:
    if not config.text_col:
        return [F.lit(None).cast("string").alias("texthash")]
    text = col(config.text_col).cast("string")
    if "lowercase" in config.text_normalize:
        text = F.lower(text)
    if "ignore_non_character" in config.text_normalize:
        text = F.regexp_replace(text, _NON_CHARACTER, "")
    return [F.md5(F.encode(text, "UTF-8")).alias("texthash")]


def _ready_hashes(frame: DataFrame, kind: str) -> DataFrame:
    """Hashes from a column: the JVM alone does it."""
    ready = F.hex("ready") if kind == "binary" else F.trim(F.col("ready").cast("string"))
    ready = F.when(ready != "", F.lower(ready))
    good = ready.rlike("^[0-9a-f,]+$")
    error = F.struct(
        F.lit(0).alias("position"),
        F.lit("bad_hash").alias("error"),
        F.concat(F.lit("not a hex string: "), F.substring(F.col("ready").cast("string"), 1, 80)).alias("message"),
    )
    none = F.array().cast(ArrayType(ERROR_TYPE))
    return frame.select(
        *[F.col(name) for name in frame.columns if name != "ready"],
        F.when(ready.isNull(), F.lit("")).when(good, ready).alias("imagehash"),
        F.when(ready.isNull(), 0).otherwise(1).alias("images"),
        F.lit(None).cast("int").alias("width"),
        F.lit(None).cast("int").alias("height"),
        F.lit(None).cast("bigint").alias("bytes"),
        F.lit(None).cast("bigint").alias("pixels"),
        F.when(ready.isNull() | good, none).otherwise(F.array(error).cast(ArrayType(ERROR_TYPE))).alias("errors"),
    )


def _ready_vectors(frame: DataFrame) -> DataFrame:
    """Embeddings from a column, ``ready``."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors, problems = read_ready(batch)
            rows = Rows(batch.num_rows, ("vector",), b"")
            rows.images += batch.column("ready").is_valid().to_numpy(zero_copy_only=False)
            for errors, problem in zip(rows.errors, problems, strict=True):
                if problem is not None:
                    errors.append({"position": 0, "error": "bad_vector", "message": problem})
            others = {name: batch.column(name) for name in batch.schema.names if name != "ready"}
            none = pa.nulls(batch.num_rows, pa.int64())
            made = {**rows.columns(), "vector": vectors, "bytes": none, "pixels": none}
            yield pa.RecordBatch.from_pydict({**others, **made})

    fields = [one for one in frame.schema.fields if one.name != "ready"]
    return frame.mapInArrow(work, StructType([*fields, StructField("vector", BinaryType()), *MEASURED]))
