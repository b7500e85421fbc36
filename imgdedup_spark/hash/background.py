"""The background set of score normalisation: embeddings of pictures that nothing is a copy of."""

from __future__ import annotations

import logging
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
from imgdedup_spark.read.open import read_source
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.workspace import Stage

log = logging.getLogger("imgdedup")
#: Rows of a set that are used: every task that compares gets all of them, some 40 MB.
MOST = 20_000


def with_background(prints: Prints, spark: SparkSession, stage: Stage, clock: Clock) -> Prints:
    """The prints with their background set, timed, if the options name one.

    Raises:
        UserError: it cannot be read, or no picture of it can be.
    """
    if not isinstance(prints, Vectors) or prints.config.background_set is None:
        return prints
    with clock.stage("background") as entry:
        background = _read(spark, prints, stage)
        entry["rows"] = len(background)
    return replace(prints, background=background)


def _read(spark: SparkSession, prints: Vectors, stage: Stage) -> Floats:
    """(k, d) vectors of the set that the options name."""
    path = prints.config.background_set
    where = f"--background-set {path}"
    config = replace(
        prints.config,
        background_set=None, id_col=None, text_col=None, text_normalize=(), keep="first", on_error="keep",
    )  # fmt: skip
    kind = replace(prints, config=config)
    try:
        source = read_source(spark, [str(path)], None)
        kind.check(source)
        hashed = hash_rows(source, kind, lambda name, frame: stage(f"background_{name}", frame))
    except UserError as error:
        # Reading says which input it is about.
        raise UserError(f"{where}: {str(error).removeprefix(f'--input {path}: ')}") from None
    usable = hashed.frame.where(~has_errors() & (F.col("images") > 0)).select("vector")
    bad = sum(one.rows_with_errors for one in hashed.tallies.values())
    if bad:
        log.warning("%s: %s rows with unreadable images are left out", where, f"{bad:,}")
    # Whatever the partitions, the same ones.
    chosen = to_driver(usable.orderBy(F.xxhash64("vector"), "vector").limit(MOST)).column("vector").to_pylist()
    if not chosen:
        raise UserError(f"{where}: holds no picture that others can be compared with")
    if hashed.rows - bad > MOST:
        log.warning("%s: %s of its %s rows are used", where, f"{MOST:,}", f"{hashed.rows:,}")
    return np.frombuffer(b"".join(chosen), "<f4").reshape(-1, hashed.prints.size or 1)
