"""Prints that are hashes: made from pictures, or ready in a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, StringType, StructField, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.here import ready_hashes
from imgdedup_spark.hash.pictures import hash_pictures
from imgdedup_spark.hash.prints import Prints, other_columns, reading_spec
from imgdedup_spark.hash.problems import ERROR_TYPE, problem
from imgdedup_spark.hash.tallies import size_range
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS
from imgdedup_spark.read.columns import col, ready_hash
from imgdedup_spark.read.source import FileState, Source


class Hashes(Prints):
    """The main hash and those of ``--verify``, of pictures."""

    item: ClassVar[str] = "code"
    has_flat: ClassVar[bool] = True

    @property
    def columns(self) -> tuple[str, ...]:
        return ("imagehash", *(f"verify{i}" for i in range(len(self.config.specs) - 1)))

    @property
    def beside(self) -> tuple[str, ...]:
        return ("views",) if self.config.view_names else ()

    def make(self, source: Source) -> DataFrame:
        config, views = self.config, self.config.view_names
        hasher = Hasher(config.specs, config.decode, config.max_pixels, config.reading, views)
        digits = [one for one in self.digits() if one is not None] if views else None
        return hash_pictures(source, config, hasher, self.columns, StringType(), digits)

    def signature(self) -> list[Any]:
        return [*((one.method, one.size) for one in self.config.specs), *self.config.view_names]

    def index_spec(self) -> dict[str, Any]:
        return {
            "method": _named(self.config.spec),
            **reading_spec(self.config.reading),
            "decode": self.config.decode,
            "verify": [_named(verify.spec) for verify in self.config.verifies],
            "views": list(self.config.view_names),
        }

    def sizes(self) -> Column:
        return F.length("imagehash")

    def measured(self, frame: DataFrame, counts: Sequence[Any], known: tuple[int, int]) -> tuple[DataFrame, Prints]:
        return frame, self

    def digits(self) -> list[int | None]:
        """Hex digits of one picture's hash in each of ``columns``; None where they vary or are not known."""
        return [spec.digits for spec in self.config.specs]

    def _key(self) -> Column:
        codes = F.concat(*[_code(name, digits) for name, digits in zip(self.columns, self.digits(), strict=True)])
        return F.when(F.col("flat").isNull(), codes).otherwise(F.unhex(F.substring("flat", 1, DIGEST_DIGITS)))

    def _widths(self) -> list[int]:
        return [width for width in (spec.bits for spec in self.config.specs) if width is not None]

    def parts(self, images: int) -> list[Part]:
        thresholds = [self.config.threshold, *(verify.threshold for verify in self.config.verifies)]
        return [
            Part(width, threshold, reported=index == 0)
            for index, (width, threshold) in enumerate(zip(self._widths(), thresholds, strict=True))
            for _ in range(images)
        ]

    def key_bytes(self, images: int) -> int:
        return sum(part.bytes for part in self.parts(images))

    def is_near(self) -> bool:
        return self.config.threshold > 0 or bool(self.config.view_names)

    def outcome(self, is_same: Column) -> dict[str, Column]:
        return {
            "distance": F.when(is_same, 0).otherwise(F.col("distance")),
            "similarity": F.lit(None),
            "reason": F.when(is_same, "same_hash").otherwise("near_hash"),
        }

    def index_fields(self) -> list[StructField]:
        views = [StructField(name, ArrayType(BinaryType())) for name in self.beside]
        return [*(StructField(name, StringType()) for name in self.columns), *views]

    @property
    def can_pack(self) -> bool:
        return self.config.text_col is None and None not in self.digits() and not self.beside


class ReadyHashes(Hashes):
    """Hashes from the column ``--hash-col``, of which the JVM alone makes prints, or the driver."""

    has_flat: ClassVar[bool] = False

    @property
    def batch_rows(self) -> None:
        return None

    def make(self, source: Source) -> DataFrame:
        name = self.config.hash_col
        assert name is not None
        frame = source.frame.select(*other_columns(source, self.config), col(name).alias("ready"))
        # Nearly all are as they should be as given; to cut and lower a million of them would take over a second.
        given, cut = ready_hash(F.col("ready"), source.schema[name].dataType)
        ready = F.when(given.rlike(self._is_hash), given).when(cut == "", cut).when(cut.rlike(self._is_hash), cut)
        shown = F.substring(F.col("ready").cast("string"), 1, 80)
        message = F.concat(F.lit("not a hex string: "), shown)
        none = F.array().cast(ArrayType(ERROR_TYPE))
        return frame.select(
            *[F.col(one) for one in frame.columns if one != "ready"],
            ready.alias("imagehash"),
            F.when(ready == "", 0).otherwise(1).alias("images"),
            *[F.lit(None).cast("int").alias(one) for one in ("width", "height")],
            *[F.lit(None).cast("bigint").alias(one) for one in ("bytes", "pixels")],
            F.lit(None).cast("int").alias("quality"),
            F.lit(None).cast("string").alias("flat"),
            *[F.lit(0).alias(one) for one in ("animated", "further")],
            F.when(ready.isNotNull(), none).otherwise(problem("bad_hash", message)).alias("errors"),
        )

    @property
    def _is_hash(self) -> str:
        # Lists of hashes, as `crop_resistant` has them, can be equal; there is no distance between them.
        return r"\A[0-9a-f]+\z" if self.is_near() else r"\A[0-9a-f,]+\z"

    def here(self, source: Source, files: Sequence[FileState], schema: StructType) -> pa.Table | None:
        return ready_hashes(source, files, self.config, schema, self._is_hash)

    def index_spec(self) -> dict[str, Any]:
        return {"method": "ready hashes"}

    def sized(self, fewest: int, most: int) -> Prints:
        return replace(self, size=fewest if fewest == most > 0 else None)

    def measured(self, frame: DataFrame, counts: Sequence[Any], known: tuple[int, int]) -> tuple[DataFrame, Prints]:
        if not self.is_near():
            return frame, self
        ranges = [one for one in (size_range(counts), known) if one != (0, 0)]
        low, high = min((one for one, _ in ranges), default=1), max((one for _, one in ranges), default=1)
        if low != high:
            raise UserError(
                f"--hash-col {self.config.hash_col}: distances need hashes of one length, "
                f"and these have {low * 4} to {high * 4} bits"
            )
        if ranges and self.config.threshold > low * 4:
            raise UserError(
                f"--threshold: {self.config.threshold} is larger than the hashes of {self.config.hash_col}, which "
                f"have {low * 4} bits"
            )
        return frame, replace(self, size=low)

    def digits(self) -> list[int | None]:
        return [self.size]

    def _widths(self) -> list[int]:
        assert self.size is not None
        return [4 * self.size]


def _code(name: str, digits: int | None) -> Column:
    """A hash column as bytes: each picture's hash right-aligned in whole bytes. Hashes of varying length, which
    are compared for equality alone, stay text."""
    if digits is None:
        return F.encode(F.col(name), "UTF-8")
    if digits % 2:
        return F.unhex(F.regexp_replace(name, f"(.{{{digits}}})", "0$1"))
    return F.unhex(F.col(name))


def _named(spec: HashSpec) -> str:
    return f"{spec.method} of {spec.bits} bits" if spec.bits is not None else spec.method
