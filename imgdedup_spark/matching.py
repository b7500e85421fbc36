"""Matching: which rows have a twin, and which of the twins comes first.

Rows of equal keys are collapsed by an aggregation that combines on the map side, so that a blank image repeated
ten million times is no hot key; near-duplicates are then searched among the distinct keys only. What comes out,
``decided``, has one row for each distinct key that has something to drop:

- ``key``; ``first``, the rank of its earliest row; ``size``, how many rows have it
- ``keeper``, the rank of the row that stands for it (its own ``first``, or a near row's); ``distance`` in bits, or
  1 − cosine (null where there are no embeddings to compare: rows without images)
- ``is_reference``, whether ``keeper`` is the rank of a reference: a row that was there before this run
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from imgdedup_spark.config import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.fingerprints import key_parts, lengths_of
from imgdedup_spark.joins import BROADCAST_KEYS, join_few
from imgdedup_spark.places import where_columns

if TYPE_CHECKING:
    from imgdedup_spark.references import References

Stage = Callable[[str, DataFrame], DataFrame]

#: Longer keys travel as their SHA-256, which is as good as unique.
KEY_BYTES = 32


@dataclass(frozen=True)
class Decided:
    """What matching found.

    Attributes:
        frame: see the module's text for its columns.
        count: its rows.
        plan: how near-duplicates were searched.
        highest: for embeddings, if asked for: ``first`` of each distinct key that was compared, and
            ``max_similarity``, its highest cosine with any other row (null without one).
    """

    frame: DataFrame
    count: int
    plan: dict[str, Any] = field(default_factory=dict)
    highest: DataFrame | None = None


def keyed(prints: DataFrame, config: DedupConfig) -> DataFrame:
    """Adds ``key`` (binary) to the fingerprints, and leaves out the rows that belong to no group: unreadable
    images, and rows with nothing to compare."""
    return prints.where((F.size("errors") == 0) & has_key(config)).withColumn("key", key_of(config))


def has_key(config: DedupConfig) -> Column:
    """Whether a row without errors has something to compare."""
    some = F.col("images") > 0
    if config.text_col:
        some = some | F.col("texthash").isNotNull()
    if config.missing == "duplicates":
        some = some | F.lit(True)
    return some


def key_of(config: DedupConfig) -> Column:
    """The key (binary), from the columns of a fingerprint."""
    parts = [F.col(name) if config.is_embedding else code(name, hex_digits(config, name)) for name in key_parts(config)]
    key = F.concat(*parts)
    if config.text_col:
        # The last byte tells a key with a text from one without, so that no hash can pass for a text.
        text = F.when(F.col("texthash").isNull(), F.unhex(F.lit("00")))
        key = F.concat(key, text.otherwise(F.unhex(F.concat("texthash", F.lit("01")))))
    return key


def short(key: Column) -> Column:
    return F.when(F.length(key) <= KEY_BYTES, key).otherwise(F.unhex(F.sha2(key, 256)))


def hash_widths(config: DedupConfig) -> list[int]:
    """Bits of one picture's hash in each of ``key_parts``, for methods where they do not vary."""
    if config.hash_col:
        assert config.ready_bits is not None
        return [config.ready_bits]
    widths = [spec.bits for spec in config.specs]
    return [width for width in widths if width is not None]


def hex_digits(config: DedupConfig, name: str) -> int | None:
    """Hex digits of one picture's hash in this column; None where they vary or are not known."""
    if config.hash_col:
        return None if config.ready_bits is None else config.ready_bits // 4
    if name == "imagehash":
        return config.spec.digits
    return config.verifies[int(name.removeprefix("verify"))].spec.digits


def code(name: str, digits: int | None) -> Column:
    """A hash column as bytes: each picture's hash right-aligned in whole bytes. Hashes of varying length, which
    are compared for equality alone, stay text."""
    if digits is None:
        return F.encode(F.col(name), "UTF-8")
    if digits % 2:
        return F.unhex(F.regexp_replace(name, f"(.{{{digits}}})", "0$1"))
    return F.unhex(F.col(name))


def decide(rows: DataFrame, config: DedupConfig, stage: Stage, references: References | None = None) -> Decided:
    """Args:
    rows: ``key``, ``rank`` (bigint, unique, smaller stays) and ``images``.
    references: rows that come before all of these.
    """
    if config.threshold or config.is_embedding:
        from imgdedup_spark.nearness import decide_near

        return decide_near(rows, config, stage, references)
    groups = rows.groupBy(short(F.col("key")).alias("key")).agg(
        F.min("rank").alias("first"), F.count(F.lit(1)).alias("size")
    )
    if references is None:
        decided = stage("decided", alone(groups))
    else:
        decided = stage("decided", decide_equal(stage("groups", groups), references.keyed(config)))
    return Decided(decided, decided.count())


def alone(groups: DataFrame) -> DataFrame:
    """What equal keys decide when there is nothing else to compare with.

    Args:
        groups: ``key``, ``first``, ``size``.
    """
    return groups.where("size > 1").select(
        "key",
        "first",
        "size",
        F.col("first").alias("keeper"),
        F.lit(0).alias("distance"),
        F.lit(False).alias("is_reference"),
    )


def decide_equal(groups: DataFrame, references: DataFrame) -> DataFrame:
    """What equal keys decide: the earliest reference of the same key, else the group's own first row.

    Args:
        groups: ``key`` (short), ``first``, ``size``; read twice.
        references: ``key``, ``rank``.
    """
    known = references.select(short(F.col("key")).alias("key"), "rank")
    keys = groups.select("key")
    # A broadcast so that of many references only those that this run asks for are shuffled.
    known = known.join(F.broadcast(keys) if keys.count() <= BROADCAST_KEYS else keys, "key", "left_semi")
    joined = groups.join(known.groupBy("key").agg(F.min("rank").alias("reference")), "key", "left")
    return joined.where("size > 1 or reference is not null").select(
        "key",
        "first",
        "size",
        F.coalesce("reference", "first").alias("keeper"),
        F.lit(0).alias("distance"),
        F.col("reference").isNotNull().alias("is_reference"),
    )


def dropped_ranks(rows: DataFrame, decided: Decided, config: DedupConfig) -> DataFrame:
    """Every row that goes: ``order``, ``keeper`` (a rank), ``is_reference``, ``distance``, ``similarity`` (null for
    hashes), ``reason``; and what else there is of ``places.where_columns``.

    Args:
        rows: ``key``, ``rank``, ``order``, and maybe more of ``places.where_columns``.
    """
    place = where_columns(rows)
    slim = rows.select(short(F.col("key")).alias("key"), "rank", *place)
    joined = join_few(slim, decided.frame, "key", decided.count)
    same = (F.col("keeper") == F.col("first")) & ~F.col("is_reference")
    distance = F.when(same, 0).otherwise(F.col("distance"))
    similarity, reason = F.lit(None), F.when(same, "same_hash").otherwise("near_hash")
    if config.is_embedding:
        # Equal embeddings are just the nearest ones: nobody has compared hashes, but those of the texts.
        distance, similarity = F.coalesce("distance", F.lit(0)), 1 - F.col("distance")
        reason = F.when(similarity.isNull(), "same_hash").otherwise("near_embedding")
    return joined.where("is_reference or rank != keeper").select(
        *place,
        "keeper",
        "is_reference",
        distance.cast("double").alias("distance"),
        similarity.cast("double").alias("similarity"),
        reason.alias("reason"),
    )


def measure_ready_hashes(counts: Sequence[Row], config: DedupConfig, known: tuple[int, int] = (0, 0)) -> DedupConfig:
    """The configuration with the width of the ready hashes, which only the data tell.

    Args:
        counts: of the fingerprints (``count_prints``).
        known: fewest and most hex digits of the references' hashes; (0, 0) without any.

    Raises:
        UserError: they are of several lengths, so that a distance means nothing, or shorter than the threshold.
    """
    lengths = [*lengths_of(counts), *(one for one in known if one)]
    if not lengths:
        return replace(config, ready_bits=4)
    low, high = min(lengths), max(lengths)
    if low != high:
        raise UserError(
            f"--hash-col {config.hash_col}: distances need hashes of one length, "
            f"and these have {low * 4} to {high * 4} bits"
        )
    if config.threshold > low * 4:
        raise UserError(
            f"--threshold: {config.threshold} is larger than the hashes of {config.hash_col}, which have {low * 4} bits"
        )
    return replace(config, ready_bits=low * 4)
