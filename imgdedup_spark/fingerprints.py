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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    IntegerType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
)

from imgdedup_spark import storage
from imgdedup_spark.columns import col, image_column, row_terms
from imgdedup_spark.config import DedupConfig
from imgdedup_spark.embeddings.models import Embedder, Encoder, EncoderSpec, check_model
from imgdedup_spark.errors import UserError
from imgdedup_spark.hashes import Hasher
from imgdedup_spark.images import Bytes
from imgdedup_spark.parquet_column import ColumnReader
from imgdedup_spark.pictures import PathRules, PictureReader, Pictures
from imgdedup_spark.places import count_rows
from imgdedup_spark.remembered import Memory, Recalled, RememberingHasher
from imgdedup_spark.sources import ID, PLACE, Source
from imgdedup_spark.vectors import as_numbers, read_ready

#: Pictures given as paths are read in portions of about this size, so that a batch of paths to large files
#: does not fill a worker.
CHUNK_BYTES = 32 << 20

ERROR_TYPE = StructType(
    [
        StructField("position", IntegerType()),
        StructField("error", StringType()),
        StructField("message", StringType()),
    ]
)
_MEASURED = [
    StructField("images", IntegerType()),
    StructField("width", IntegerType()),
    StructField("height", IntegerType()),
    StructField("bytes", LongType()),
    StructField("pixels", LongType()),
    StructField("errors", ArrayType(ERROR_TYPE)),
]
_REMEMBERED = [StructField("digest", BinaryType()), StructField("known", IntegerType())]

# What `ignore_non_character` drops: digits, white space and punctuation of every script, and the ASCII
# punctuation that Unicode counts among the symbols.
_NON_CHARACTER = r"[\p{Nd}\s\u0085\p{Z}\p{P}" + "".join("\\" + c for c in string.punctuation) + "]+"


class PictureHasher(Protocol):
    """What makes prints of pictures: a ``hashes.Hasher``, or an ``embeddings.models.Embedder``."""

    def hash_batch(self, pictures: Sequence[Bytes]) -> Any: ...


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
    fields += [StructField(name, kind) for name in names] + _MEASURED
    fields += [] if memory is None else _REMEMBERED
    return frame.mapInArrow(work, StructType(fields))


def _hasher(config: DedupConfig, memory: Memory | None) -> PictureHasher:
    if config.is_embedding:
        return Embedder(Encoder(encoder_spec(config), config.max_pixels))
    hasher = Hasher(config.specs, config.decode, config.max_pixels)
    return hasher if memory is None else RememberingHasher(hasher, memory)


def encoder_spec(config: DedupConfig) -> EncoderSpec:
    """The model that the options name. A local one by its whole path, because workers run in other folders."""
    path = Path(config.model).expanduser()
    model = str(path.resolve()) if path.exists() else config.model
    return EncoderSpec(model, config.batch_size, config.device)


def check_models(config: DedupConfig) -> None:
    """Sees to it that the models of a run can be had, before any work.

    Raises:
        UserError: one line that says how to get it.
    """
    for step in config.steps:
        if step.is_embedding and not step.embedding_col:
            check_model(encoder_spec(step))


def _reads_directly(source: Source) -> bool:
    """Whether workers can read the pictures from the Parquet files themselves."""
    if source.format != "parquet" or not source.in_pieces:
        return False
    try:
        storage.check_workers(source.roots[0].read)
    except UserError:
        return False
    return True


def hash_columns(count: int) -> list[str]:
    return ["imagehash", *(f"verify{i}" for i in range(count - 1))]


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
            rows = _Rows(batch.num_rows, ("vector",), b"")
            rows.images += batch.column("ready").is_valid().to_numpy(zero_copy_only=False)
            for errors, problem in zip(rows.errors, problems, strict=True):
                if problem is not None:
                    errors.append({"position": 0, "error": "bad_vector", "message": problem})
            others = {name: batch.column(name) for name in batch.schema.names if name != "ready"}
            none = pa.nulls(batch.num_rows, pa.int64())
            made = {**rows.columns(), "vector": vectors, "bytes": none, "pixels": none}
            yield pa.RecordBatch.from_pydict({**others, **made})

    fields = [one for one in frame.schema.fields if one.name != "ready"]
    return frame.mapInArrow(work, StructType([*fields, StructField("vector", BinaryType()), *_MEASURED]))


class HashPictures:
    """The worker's side: Arrow batches with an ``image`` column → the same rows with hashes instead.

    With a ``column`` reader the batches have no images, but ``PLACE``, where they are read.

    Args:
        names: of the columns of hashes.
        nothing: what a row without images has in them: an empty string, or no bytes.
    """

    def __init__(
        self,
        hasher: PictureHasher,
        reader: PictureReader,
        one_root: bool,
        column: ColumnReader | None = None,
        names: Sequence[str] = ("imagehash",),
        nothing: str | bytes = "",
    ) -> None:
        self.hasher = hasher
        self.reader = reader
        self.one_root = one_root
        self.column = column
        self.names = tuple(names)
        self.nothing = nothing

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield self.hash(batch)

    def hash(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = _Rows(batch.num_rows, self.names, self.nothing)
        inputs = None
        if PLACE in batch.schema.names and not self.one_root:
            inputs = np.asarray(batch.column(PLACE).field("input"))
        portions = [(0, batch.column("image"))] if self.column is None else self.column.read(batch.column(PLACE))
        for first, images in portions:
            here = None if inputs is None else inputs[first : first + len(images)]
            for pictures in self.reader.read_chunks(images, here, CHUNK_BYTES):
                rows.add(pictures, first, self.hasher)
        names = [name for name in batch.schema.names if name != "image"]
        columns = {name: batch.column(name) for name in names}
        return pa.RecordBatch.from_pydict({**columns, **rows.columns(isinstance(self.hasher, RememberingHasher))})


class _Rows:
    """Gathers the pictures of a batch into its rows."""

    def __init__(self, count: int, names: Sequence[str], nothing: str | bytes) -> None:
        self.names, self.nothing = names, nothing
        self.hashes: list[list[list[Any]]] = [[[] for _ in range(count)] for _ in names]
        self.images = np.zeros(count, np.int32)
        self.width = np.zeros(count, np.int32)
        self.height = np.zeros(count, np.int32)
        self.bytes = np.zeros(count, np.int64)
        self.pixels = np.zeros(count, np.int64)
        self.errors: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        self.known = np.zeros(count, np.int32)
        self.digests: list[bytes | None] = [None] * count

    def add(self, pictures: Pictures, first: int, hasher: PictureHasher) -> None:
        """Args:
        first: the row that the pictures' row 0 is.
        """
        readable = [i for i in range(len(pictures.data)) if i not in pictures.errors]
        data = [one for one in (pictures.data[i] for i in readable) if one is not None]
        prints = hasher.hash_batch(data)
        errors = {**pictures.errors, **{readable[i]: error for i, error in prints.errors.items()}}
        row = pictures.row + first
        for i, error in sorted(errors.items()):
            entry = {"position": int(pictures.position[i]), "error": error.code, "message": error.message}
            self.errors[row[i]].append(entry)
        rows = row[readable]
        for gathered, found in zip(self.hashes, prints.hashes, strict=True):
            for one, value in zip(rows, found, strict=True):
                if value is not None:
                    gathered[one].append(value)
        if isinstance(prints, Recalled):
            np.add.at(self.known, rows, prints.known)
            for one, digest in zip(rows, prints.digests, strict=True):
                self.digests[one] = digest
        np.add.at(self.images, row, 1)
        np.add.at(self.bytes, row, pictures.size)
        np.add.at(self.pixels, rows, prints.width.astype(np.int64) * prints.height)
        # A row's first picture gives its width and height: written last to first, so that it wins, unless an
        # earlier portion of the batch has brought it.
        fresh = self.width[rows] == 0
        self.width[rows[fresh][::-1]] = prints.width[fresh][::-1]
        self.height[rows[fresh][::-1]] = prints.height[fresh][::-1]

    def columns(self, remembers: bool = False) -> dict[str, pa.Array]:
        failed = [bool(errors) for errors in self.errors]
        made: dict[str, pa.Array] = {}
        kind = pa.string() if isinstance(self.nothing, str) else pa.binary()
        for name, gathered in zip(self.names, self.hashes, strict=True):
            values = [None if bad else self.nothing.join(parts) for bad, parts in zip(failed, gathered, strict=True)]
            made[name] = pa.array(values, kind)
        none = self.width == 0
        made["images"] = pa.array(self.images)
        made["width"] = pa.array(self.width, mask=none)
        made["height"] = pa.array(self.height, mask=none)
        made["bytes"] = pa.array(self.bytes)
        made["pixels"] = pa.array(self.pixels, mask=none)
        error = pa.struct([("position", pa.int32()), ("error", pa.string()), ("message", pa.string())])
        made["errors"] = pa.array(self.errors, pa.list_(error))
        if remembers:
            several = (self.images != 1) | np.array(failed, bool)
            made["digest"] = pa.array(self.digests, pa.binary(), mask=several)
            made["known"] = pa.array(self.known)
        return made


@dataclass(frozen=True)
class Tally:
    """How much there is of one input."""

    rows: int
    images: int
    rows_with_errors: int


def count_prints(prints: DataFrame, in_pieces: bool = False) -> list[Row]:
    """What one look at the fingerprints tells, by piece or by input (see ``places.count_rows``): ``rows``, ``images``,
    ``errors`` (rows that have some), and the ``fewest`` and ``most`` hex digits of a hash (null without any)."""
    digits = F.length(F.when(F.col("images") > 0, F.col("imagehash")))
    return count_rows(
        prints,
        in_pieces,
        F.sum("images").alias("images"),
        F.count(F.when(F.size("errors") > 0, 1)).alias("errors"),
        F.min(digits).alias("fewest"),
        F.max(digits).alias("most"),
    )


def tally(counts: Iterable[Row]) -> dict[int | None, Tally]:
    """By number of the input; None where rows do not know theirs.

    Args:
        counts: of ``count_prints``.
    """
    found: dict[int | None, Tally] = {}
    for one in counts:
        so_far = found.get(one["input"], Tally(0, 0, 0))
        found[one["input"]] = Tally(
            so_far.rows + one["rows"], so_far.images + one["images"], so_far.rows_with_errors + one["errors"]
        )
    return found


def lengths_of(counts: Iterable[Row]) -> list[int]:
    """Hex digits of hashes, the extremes among them; none without any hash.

    Args:
        counts: of ``count_prints``.
    """
    return [one for row in counts for one in (row["fewest"], row["most"]) if one is not None]


def failed(prints: DataFrame) -> DataFrame:
    """The rows with at least one unreadable picture."""
    return prints.where(F.size("errors") > 0)


def key_parts(config: DedupConfig) -> Sequence[str]:
    """The columns of hashes (or embeddings) that make up a row's key."""
    return ["vector"] if config.is_embedding else hash_columns(len(config.specs))
