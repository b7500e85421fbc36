"""Keys: what of a row's print must be equal, or near, for two rows to match."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.prints import key_parts

#: Longer keys travel as their SHA-256, which is as good as unique.
KEY_BYTES = 32


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
