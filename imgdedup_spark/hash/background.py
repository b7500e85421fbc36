"""The background set of score normalisation: embeddings of pictures that nothing is a copy of."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.clock import Clock
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.problems import has_errors
from imgdedup_spark.hash.stage import hash_rows
from imgdedup_spark.hash.vectors import Floats, Vectors
from imgdedup_spark.read.open import read_beside
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.workspace import Stage

log = logging.getLogger("imgdedup")
#: Vectors of a set that are used, and their bytes: every task that compares gets them all.
MOST, MOST_BYTES = 20_000, 40 << 20


def with_background(
    prints: Prints, spark: SparkSession, stage: Stage, clock: Clock, input_format: str | None = None
) -> Prints:
    """The prints with their background set, timed, if the options name one.

    Args:
        stage: freezes a DataFrame.
        input_format: of a set whose files do not tell it.

    Raises:
        UserError: it cannot be read, or no picture of it can be.
    """
    if not isinstance(prints, Vectors) or prints.config.background_set is None:
        return prints
    path = str(prints.config.background_set)
    with clock.stage("background") as entry:
        try:
            background = _read(prints, read_beside(spark, path, input_format), stage)
        except UserError as error:
            # Reading says that it is an input.
            said = re.sub(r"^--input( \S+)?: ", "", str(error)).replace("--input ", "", 1)
            said = re.sub("say (it )?with --input-format( which to read)?", "name files of one kind", said)
            raise UserError(f"--background-set {path}: {said.removeprefix(f'{path}: ')}") from None
        entry["rows"] = len(background)
    return replace(prints, background=background)


def _read(prints: Vectors, source: Source, stage: Stage) -> Floats:
    """(k, d) vectors of the set."""
    config = prints.config
    kind = replace(
        prints,
        config=replace(
            config,
            background_set=None, id_col=None, text_col=None, text_normalize=(), keep="first", on_error="keep",
            emit_hashes=False, image_col=config.image_col if config.image_col in source.columns else None,
        ),
    )  # fmt: skip
    kind.check(source)
    hashed = hash_rows(source, kind, lambda name, frame: stage(f"background_{name}", frame))
    bad = sum(one.rows_with_errors for one in hashed.tallies.values())
    if bad:
        log.warning(
            "--background-set %s: %s rows with unreadable images are left out", config.background_set, f"{bad:,}"
        )
    usable = hashed.frame.where(~has_errors() & (F.col("images") > 0)).select("vector")
    # Whatever the partitions, the same ones; and one more tells that there are more.
    chosen = to_driver(usable.orderBy(F.xxhash64("vector"), "vector").limit(MOST + 1)).column("vector").to_pylist()
    if not chosen:
        raise UserError("holds no picture that others can be compared with")
    dims = hashed.prints.size or 1
    vectors, most = np.frombuffer(b"".join(chosen), "<f4").reshape(-1, dims), min(MOST, MOST_BYTES // (4 * dims))
    if len(vectors) > most:
        log.warning("--background-set %s: %s of its embeddings are used", config.background_set, f"{most:,}")
    return vectors[:most]
