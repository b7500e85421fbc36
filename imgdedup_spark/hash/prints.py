"""Prints: what is left of a row once its pictures have been looked at, and what rows are compared by.

Columns of a print besides the row's place and id:

- ``imagehash``: lower-case hex, the pictures' hashes one after another; null where a picture is unreadable
- ``vector``: in the place of hashes, if rows are compared by embeddings (see ``vectors``); ``imagehash`` is null then
- ``verify0``, ``verify1``, …: the same for each ``--verify``
- ``views``: in a run that compares views, those besides the whole, as ``kernels.hashes.view_codes`` has them
- ``images``: how many pictures the row has
- ``texthash``: MD5 of the normalised text, hex; null without a text
- ``width``, ``height``: of the row's first picture, upright, in pixels
- ``bytes``, ``pixels``: of all the row's pictures together
- ``quality``: the least of its pictures' (0 to 100); null where nothing was decoded
- ``flat``: hex, what stands for the hashes if one of the pictures is too flat for them (``kernels.hashes.sketches``);
  else null
- ``animated``: how many of its pictures have several frames
- ``further``: how many frames besides each picture's first have been hashed; ``images`` counts them, too
- ``errors``: array of (position, error, message, level), empty where all is well; a ``warning`` is of a picture that
  could be read
- ``term0``, ``term1``, …: the row's own columns that ``--keep`` sorts by
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import MOMENTARY
from imgdedup_spark.hash.problems import ERROR_TYPE, errors_only, has_errors, readable, told
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.pictures.reading import Reading, ground_color
from imgdedup_spark.kernels.pictures.values import RULE
from imgdedup_spark.read.columns import check_columns, check_image_choice, col, row_terms
from imgdedup_spark.read.source import BAD, ID, PLACE, FileState, Source

MEASURED = [
    StructField("images", IntegerType()),
    StructField("width", IntegerType()),
    StructField("height", IntegerType()),
    StructField("bytes", LongType()),
    StructField("pixels", LongType()),
    StructField("quality", IntegerType()),
    StructField("flat", StringType()),
    StructField("animated", IntegerType()),
    StructField("further", IntegerType()),
    StructField("errors", ArrayType(ERROR_TYPE)),
]
# What `ignore_non_character` drops: digits, white space and punctuation of every script, and the ASCII
# punctuation that Unicode counts among the symbols.
_NON_CHARACTER = r"[\p{Nd}\s\u0085\p{Z}\p{P}" + "".join("\\" + c for c in string.punctuation) + "]+"


@dataclass(frozen=True)
class Prints(ABC):
    """What the rows of a run are compared by. Which subclass it is, is decided once, from the options.

    Attributes:
        config: the options.
        size: what only the data tell: hex digits of a ready hash, numbers in an embedding; None while it is not known
            or does not matter.
    """

    config: DedupConfig
    size: int | None = None

    #: Whether a library that runs models makes them.
    uses_models: ClassVar[bool] = False
    #: Whether rows have ``flat``.
    has_flat: ClassVar[bool] = False
    #: How the search calls a key.
    item: ClassVar[str]
    #: Whether few keys are looked up among many by sending the few to all tasks.
    looked_up: ClassVar[bool] = True
    #: What ``emit_hashes`` adds to the rows kept.
    emitted: ClassVar[tuple[str, ...]] = ("imagehash", "texthash")

    def check(self, source: Source) -> None:
        """Raises:
        UserError: a column that an option names is missing, of a type the option cannot use, or in the way.
        """
        check_columns(source.schema, self.config, self.emitted)
        check_image_choice(source.partial, self.config)

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that make up a row's key."""

    @property
    def beside(self) -> tuple[str, ...]:
        """Further columns that rows are compared by."""
        return ()

    @property
    def batch_rows(self) -> int | None:
        """Least rows of a batch of pictures; None where no picture is looked at."""
        return 1

    def of(self, source: Source) -> DataFrame:
        """One print for each row of the source (lazy). Raises UserError: a column is missing or of a wrong type."""
        made = self.make(source)
        return told(made, self.columns) if BAD in made.columns else made

    @abstractmethod
    def make(self, source: Source) -> DataFrame:
        """As ``of``; a row that is none (``BAD``) is one without pictures."""

    def here(self, source: Source, files: Sequence[FileState], schema: StructType) -> pa.Table | None:
        """The prints of some files as ``of`` has them, made by the driver; None where Spark has to.

        Args:
            schema: of prints.
        """
        return None

    @abstractmethod
    def signature(self) -> list[Any]:
        """Of all that makes the columns, for JSON."""

    @abstractmethod
    def index_spec(self) -> dict[str, Any]:
        """What another run's prints must have been made with to be comparable with these."""

    @abstractmethod
    def sizes(self) -> Column:
        """The size of one picture's print, from the columns of a row's print."""

    def sized(self, fewest: int, most: int) -> Prints:
        """These prints, known to be of sizes in this range; (0, 0) for no prints."""
        return self

    @abstractmethod
    def measured(self, frame: DataFrame, counts: Sequence[Any], known: tuple[int, int]) -> tuple[DataFrame, Prints]:
        """Prints that can be compared, and these prints with their size.

        Args:
            counts: of the frame (``AGGREGATES``).
            known: fewest and most of the references' sizes; (0, 0) without any.

        Raises:
            UserError: they cannot be compared, with each other or with the references.
        """

    @abstractmethod
    def _key(self) -> Column: ...

    @abstractmethod
    def key_bytes(self, images: int) -> int:
        """Bytes of the key of a row with so many pictures, without the text."""

    @abstractmethod
    def is_near(self) -> bool:
        """Whether keys that are not equal may match."""

    def parts(self, images: int) -> list[Part]:
        """The hashes that make up the key of a row with so many pictures; for hashes alone."""
        raise NotImplementedError

    @abstractmethod
    def outcome(self, is_same: Column) -> dict[str, Column]:
        """``distance``, ``similarity`` and ``reason`` of a dropped row, from ``distance``.

        Args:
            is_same: whether the keys are equal.
        """

    @abstractmethod
    def index_fields(self) -> list[StructField]:
        """The columns of ``columns`` as other tools can read them."""

    def readable(self, frame: DataFrame) -> DataFrame:
        """The frame with ``columns`` as ``index_fields`` has them."""
        return frame

    def comparable(self, frame: DataFrame) -> DataFrame:
        """The other way round."""
        return frame

    @property
    def can_pack(self) -> bool:
        """Whether keys are hashes of known length and nothing else."""
        return False

    def has_key(self) -> Column:
        """Whether a row without errors has something to compare."""
        some = F.col("images") > 0
        if self.config.text_col:
            some = some | F.col("texthash").isNotNull()
        return some | F.lit(True) if self.config.missing == "duplicates" else some

    def key(self) -> Column:
        """The key (binary): what of a row must be equal, or near, for two rows to match."""
        key = self._key()
        if self.config.text_col:
            # The last byte tells a key with a text from one without, so that no hash can pass for a text.
            text = F.when(F.col("texthash").isNull(), F.unhex(F.lit("00")))
            key = F.concat(key, text.otherwise(F.unhex(F.concat("texthash", F.lit("01")))))
        return key

    def keyed(self, frame: DataFrame) -> DataFrame:
        """Adds ``key``, and leaves out the rows that belong to no group: unreadable ones, and those with nothing to
        compare.

        Rows with a flat picture have less than no ``images``: nothing is near them, only equal keys match.
        """
        return readable(frame).where(self.has_key()).withColumns({"key": self.key(), "images": lane()})

    def aggregates(self) -> list[Column]:
        """What is counted of prints: ``images``, those ``animated``, how many ``failed``, ``errors`` (rows that have
        some), ``momentary`` (rows with some that another run may not meet), and the ``fewest`` and ``most`` of their
        sizes (null without any)."""
        size = F.when(F.col("images") > 0, self.sizes())
        # A line that is no row has no picture.
        unread = F.filter(errors_only(), lambda one: one["error"] != "bad_row")
        momentary = F.exists("errors", lambda one: one["error"].isin(*MOMENTARY))
        return [
            F.sum(F.col("images") - F.col("further")).alias("images"),
            F.sum("animated").alias("animated"),
            F.sum(F.size(unread)).alias("failed"),
            F.count(F.when(has_errors(), 1)).alias("errors"),
            F.count(F.when(momentary, 1)).alias("momentary"),
            F.min(size).alias("fewest"),
            F.max(size).alias("most"),
        ]


def reading_spec(reading: Reading) -> dict[str, Any]:
    """What two runs must have in common that look at pictures."""
    return {
        "pictures": RULE,
        "background": "#%02x%02x%02x" % ground_color(reading.background),
        "frames": reading.frames,
    }


def lane() -> Column:
    """How many images a row has, for rows of as many are compared; negative where flat ones are among them."""
    return F.when(F.col("flat").isNull(), F.col("images")).otherwise(-F.col("images"))


def other_columns(source: Source, config: DedupConfig) -> list[Column]:
    """What a print has of a row besides its pictures: id, place, text and the terms of ``--keep``."""
    columns = [F.col(name) for name in (PLACE, BAD) if name in source.frame.columns]
    if config.id_col:
        columns.insert(0, col(config.id_col).alias("id"))
    elif ID in source.frame.columns:
        columns.insert(0, F.col(ID).alias("id"))
    terms = [_term(name, source).alias(f"term{i}") for i, name in enumerate(row_terms(config))]
    return [*columns, _texthash(config).alias("texthash"), *terms]


def _term(name: str, source: Source) -> Column:
    """A column that ``--keep`` sorts by. NaN is no number, as null is no value."""
    is_float = isinstance(source.schema[name].dataType, FloatType | DoubleType)
    return F.nanvl(col(name), F.lit(None)) if is_float else col(name)


def _texthash(config: DedupConfig) -> Column:
    if not config.text_col:
        return F.lit(None).cast("string")
    text = col(config.text_col).cast("string")
    if "lowercase" in config.text_normalize:
        text = F.lower(text)
    if "ignore_non_character" in config.text_normalize:
        text = F.regexp_replace(text, _NON_CHARACTER, "")
    return F.md5(F.encode(text, "UTF-8"))
