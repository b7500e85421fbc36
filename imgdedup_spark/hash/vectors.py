"""Prints that are embeddings: of a model, or ready in a column.

``vector`` is binary: the embeddings of a row's images, each of length 1, as little-endian float32, one after another;
empty for a row without images, null where one of them cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, FloatType, StructField, StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import ImageError, UserError
from imgdedup_spark.files.access import Carried
from imgdedup_spark.hash.pictures import hash_pictures
from imgdedup_spark.hash.prints import MEASURED, Prints, other_columns, reading_spec
from imgdedup_spark.hash.problems import has_errors, problem
from imgdedup_spark.hash.worker import Rows
from imgdedup_spark.kernels.arrow import binary_to_lists, lists_to_binary
from imgdedup_spark.kernels.encoders import sscd
from imgdedup_spark.kernels.encoders.embedder import Embedder, Encoder, normalised
from imgdedup_spark.kernels.encoders.models import check_model, identity
from imgdedup_spark.kernels.encoders.spec import EncoderSpec
from imgdedup_spark.read.columns import as_numbers, col
from imgdedup_spark.read.source import Source

#: In the place of a model's name: nobody knows which one made them.
READY_VECTORS = "(ready vectors)"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Vectors(Prints):
    """Embeddings that a model makes of pictures.

    Attributes:
        background: (k, d), those of the background set, once they are known (``background``).
    """

    background: Floats | None = field(default=None, compare=False)

    item: ClassVar[str] = "vector"
    looked_up: ClassVar[bool] = False
    uses_models: ClassVar[bool] = True
    emitted: ClassVar[tuple[str, ...]] = (*Prints.emitted, "max_similarity")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("vector",)

    @property
    def batch_rows(self) -> int | None:
        # A model's batch is filled from one Arrow batch.
        return self.config.batch_size

    @property
    def model(self) -> str | None:
        """What tells the model from another; None if nobody knows it."""
        spec = encoder_spec(self.config)
        return identity(str(sscd.find(spec.model)) if spec.of_copies else spec.model)

    def make(self, source: Source) -> DataFrame:
        embedder = Embedder(Encoder(encoder_spec(self.config), self.config.max_pixels, self.config.reading))
        made = hash_pictures(source, self.config, embedder, self.columns, BinaryType())
        return made.withColumn("imagehash", F.lit(None).cast("string"))

    def signature(self) -> list[Any]:
        return [(self.config.method, self.model)]

    def index_spec(self) -> dict[str, Any]:
        made = {} if self.config.embedding_col else reading_spec(self.config.reading)
        return {**made, "method": self.config.method, "model": self.model or READY_VECTORS}

    def sizes(self) -> Column:
        return F.expr("length(vector) div 4 div images").cast("int")

    def measured(self, frame: DataFrame, counts: Sequence[Any], known: tuple[int, int]) -> tuple[DataFrame, Prints]:
        """As ``Prints.measured``; embeddings of another length than most become errors."""
        extremes = {one for row in counts for one in (row["fewest"], row["most"]) if one is not None}
        rows = dict.fromkeys(extremes, 1)
        if len(extremes) > 1:
            usable = frame.where("images > 0 and vector is not null").groupBy(self.sizes().alias("size")).count()
            rows = {row["size"]: row["count"] for row in usable.collect()}
        most = known[1] or max(rows, key=lambda size: (rows[size], size), default=0)
        if known[0] != known[1] or (known[1] and rows and known[1] not in rows):
            of = f"--model {self.config.model}"
            if self.config.embedding_col:
                of = f"--embedding-col {self.config.embedding_col}"
            what = f"{known[0]} to {known[1]}" if known[0] != known[1] else str(known[1])
            raise UserError(
                f"{of}: embeddings of {', '.join(map(str, sorted(rows)))} numbers, and those to compare them with have "
                f"{what}; they must come from the same model"
            )
        if self.background is not None and most not in (0, self.background.shape[1]):
            raise UserError(
                f"--background-set {self.config.background_set}: embeddings of {self.background.shape[1]} numbers, and "
                f"those of the input have {most}; they must come from the same model"
            )
        if rows.keys() - {most}:
            frame = self._only_of(frame, most)
        return frame, replace(self, size=most)

    def _only_of(self, frame: DataFrame, most: int) -> DataFrame:
        other = (F.col("images") > 0) & F.col("vector").isNotNull() & (self.sizes() != most)
        message = F.concat(F.lit("the vector has "), self.sizes(), F.lit(f" numbers and others have {most}"))
        errors = F.when(other, problem("bad_vector", message)).otherwise(F.col("errors"))
        frame = frame.withColumn("errors", errors)
        return frame.withColumn("vector", F.when(~has_errors(), F.col("vector")))

    def _key(self) -> Column:
        return F.col("vector")

    def key_bytes(self, images: int) -> int:
        assert self.size is not None
        return 4 * self.size * images

    def is_near(self) -> bool:
        return True

    def outcome(self, is_same: Column) -> dict[str, Column]:
        # Equal embeddings are just the nearest ones: nobody has compared hashes, but those of the texts.
        similarity = 1 - F.col("distance")
        return {
            "distance": F.coalesce("distance", F.lit(0)),
            "similarity": similarity,
            "reason": F.when(similarity.isNull(), "same_hash").otherwise("near_embedding"),
        }

    def index_fields(self) -> list[StructField]:
        # Arrays, which every reader of Parquet understands.
        return [StructField("embedding", ArrayType(FloatType()))]

    def readable(self, frame: DataFrame) -> DataFrame:
        """The frame with ``vector`` replaced by ``embedding``; null where there is nothing to compare."""
        return _converted(frame, "vector", self.index_fields()[0], binary_to_lists)

    def comparable(self, frame: DataFrame) -> DataFrame:
        return _converted(frame, "embedding", StructField("vector", BinaryType()), lists_to_binary)


class ReadyVectors(Vectors):
    """Embeddings from the column ``--embedding-col``."""

    uses_models: ClassVar[bool] = False

    @property
    def batch_rows(self) -> None:
        return None

    @property
    def model(self) -> None:
        return None

    def make(self, source: Source) -> DataFrame:
        name = self.config.embedding_col
        assert name is not None
        numbers = as_numbers(col(name), source.schema[name].dataType).alias("ready")
        nothing = F.lit(None).cast("string").alias("imagehash")
        frame = source.frame.select(*other_columns(source, self.config), nothing, numbers)
        fields = [one for one in frame.schema.fields if one.name != "ready"]
        return frame.mapInArrow(_read_ready, StructType([*fields, StructField("vector", BinaryType()), *MEASURED]))


def encoder_spec(config: DedupConfig) -> EncoderSpec:
    """The model that the options name. A local one by its whole path, because workers run in other folders."""
    path, of_copies = Path(config.model).expanduser(), config.method == "sscd"
    named = of_copies and config.model in sscd.NAMED  # of a package, which each worker has for itself
    model = str(path.resolve()) if path.exists() and not named else config.model
    return EncoderSpec(model, config.batch_size, config.device, of_copies)


def check_models(config: DedupConfig) -> None:
    """Sees to it that the models of a run can be had, before any work.

    Raises:
        UserError: one line that says how to get it.
    """
    for step in config.steps:
        if step.is_embedding and not step.embedding_col:
            check_model(encoder_spec(step))


def _read_ready(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches with lists of numbers in ``ready`` → the same with prints instead."""
    for batch in batches:
        column = batch.column("ready")
        vectors, problems = _unit_vectors(column)
        rows = Rows(batch.num_rows, ("vector",), True)
        rows.images += column.is_valid().to_numpy(zero_copy_only=False)
        for row, wrong in enumerate(problems):
            if wrong is not None:
                rows.complain(row, 0, ImageError("bad_vector", wrong))
        others = {name: batch.column(name) for name in batch.schema.names if name != "ready"}
        none = pa.nulls(batch.num_rows, pa.int64())
        yield pa.RecordBatch.from_pydict({**others, **rows.columns(), "vector": vectors, "bytes": none, "pixels": none})


def _unit_vectors(column: pa.Array) -> tuple[pa.Array, list[str | None]]:
    """Lists of numbers as vectors; and for each row what is wrong with it, if anything is."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    vectors: list[bytes | None] = [b""] * len(column)
    problems: list[str | None] = [None] * len(column)
    for length in np.unique(lengths[valid]):
        rows = np.flatnonzero(valid & (lengths == length))
        # A null among the numbers becomes NaN.
        flat = column.take(pa.array(rows)).flatten().to_numpy(zero_copy_only=False)
        numbers = flat.astype(np.float64).reshape(len(rows), length)
        finite = np.isfinite(numbers).all(axis=1)
        for row, unit, is_finite in zip(rows, normalised(numbers), finite, strict=True):
            if unit.any():
                vectors[row] = unit.tobytes()
                continue
            vectors[row] = None
            some = "nothing but zeros, which have no direction" if is_finite else "NaN, infinite or missing numbers"
            problems[row] = f"the vector has {some if length else 'no numbers'}"
    return pa.array(vectors, pa.binary()), problems


def _converted(frame: DataFrame, old: str, new: StructField, convert: Callable[[pa.Array], pa.Array]) -> DataFrame:
    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            place = batch.schema.get_field_index(old)
            names = [new.name if name == old else name for name in batch.schema.names]
            columns = [convert(one) if number == place else one for number, one in enumerate(batch.columns)]
            yield pa.RecordBatch.from_arrays(columns, names)

    fields = [new if field.name == old else field for field in frame.schema.fields]
    return frame.mapInArrow(Carried(work), StructType(fields))
