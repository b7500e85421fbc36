"""What only the prints tell: how long hashes and embeddings are, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.hash.prints import count_prints, failed, lengths_of
from imgdedup_spark.hash.vectors import numbers_in_vector


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


def measured(
    raw: DataFrame, config: DedupConfig, known: tuple[int, int] = (0, 0), in_pieces: bool = False
) -> tuple[DataFrame, list[Row], DedupConfig]:
    """The fingerprints, what one look at them tells (``count_prints``), and the options with what only the data tell.

    Args:
        known: the fewest and most digits or numbers of the references' prints.
        in_pieces: whether to count by piece.

    Raises:
        UserError: the prints cannot be compared.
    """
    if config.is_embedding:
        raw, config = measure_vectors(raw, config, known)
    counts = count_prints(raw, in_pieces)
    if config.hash_col and config.threshold:
        config = measure_ready_hashes(counts, config, known)
    return raw, counts, config


def stop_on_errors(prints: DataFrame, config: DedupConfig) -> None:
    if config.on_error != "fail":
        return
    bad = failed(prints)
    first = bad.select("errors").limit(1).collect()
    if first:
        error = first[0]["errors"][0]
        raise JobError(
            f"{bad.count()} rows have unreadable images, one of them: {error['error']}: {error['message']}; "
            "--on-error keep or drop goes on without them"
        )


def measure_vectors(prints: DataFrame, config: DedupConfig, known: tuple[int, int]) -> tuple[DataFrame, DedupConfig]:
    """Finds out how long embeddings are, and marks those of another length than most as errors.

    Args:
        prints: fingerprints; read several times.
        known: fewest and most numbers of the references' embeddings; (0, 0) without any.

    Raises:
        UserError: none of them can be compared with the references.
    """
    usable = prints.where("images > 0 and vector is not null")
    counts = {
        row["numbers"]: row["count"] for row in usable.groupBy(numbers_in_vector().alias("numbers")).count().collect()
    }
    most = known[1] or max(counts, key=lambda numbers: (counts[numbers], numbers), default=0)
    if known[0] != known[1] or (known[1] and counts and known[1] not in counts):
        of = f"--embedding-col {config.embedding_col}" if config.embedding_col else f"--model {config.model}"
        what = f"{known[0]} to {known[1]}" if known[0] != known[1] else str(known[1])
        raise UserError(
            f"{of}: embeddings of {', '.join(map(str, sorted(counts)))} numbers, and those to compare them with have "
            f"{what}; they must come from the same model"
        )
    if counts.keys() - {most}:
        other = (F.col("images") > 0) & F.col("vector").isNotNull() & (numbers_in_vector() != most)
        message = F.concat(F.lit("the vector has "), numbers_in_vector(), F.lit(f" numbers and others have {most}"))
        error = F.struct(F.lit(0).alias("position"), F.lit("bad_vector").alias("error"), message.alias("message"))
        errors = F.when(other, F.array(error).cast(prints.schema["errors"].dataType)).otherwise(F.col("errors"))
        prints = prints.withColumn("errors", errors)
        prints = prints.withColumn("vector", F.when(F.size("errors") == 0, F.col("vector")))
    return prints, replace(config, dimensions=most)
