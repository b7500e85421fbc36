"""What a run adds to the index: the rows it keeps, as far as they have something to compare."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.errors import JobError
from imgdedup_spark.hash.prints import key_parts
from imgdedup_spark.hash.vectors import numbers_in_vector, to_arrays
from imgdedup_spark.index.manifest import Index, Run, State
from imgdedup_spark.index.packed import ROW_GROUPS, can_pack, pack
from imgdedup_spark.index.spec import fingerprint_spec, index_schema
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.order import INPUT
from imgdedup_spark.spark.joins import number
from imgdedup_spark.spark.workspace import Stage


@dataclass(frozen=True)
class Addition:
    """One run's part in the index.

    Attributes:
        run: the run's id.
        token: names the folder that this attempt writes; no other attempt has the same.
        before: the index as the run found it.
        earlier: tokens of attempts at this run that were killed.
    """

    index: Index
    run: str
    token: str
    before: State
    earlier: tuple[str, ...] = ()

    @property
    def others(self) -> State:
        """What the run is compared with: the index without what this run has added to it before."""
        return self.before.without(self.run)

    @property
    def folder(self) -> str:
        return self.index.data_folder(self.run, self.token)

    def write(self, found: Found, stage: Stage, *, distinct: bool = True) -> Run:
        """Writes the rows. They count for nothing before ``commit``.

        Args:
            distinct: whether ``found`` has left one row of each key.
        """
        config = found.config
        schema = index_schema(config)
        rows = found.rows.join(found.dropped.select("order"), "order", "left_anti")
        numbered, count = number(_columns(found, rows), "rank", "position", stage)
        uri = self.index.path(self.folder)
        if count:
            named = numbered.withColumn("run", F.lit(self.run))
            named = to_arrays(named) if config.is_embedding else named
            named.select(*schema.fieldNames()).write.mode("overwrite").parquet(uri)
        length = numbers_in_vector() if config.is_embedding else F.length("imagehash")
        agg = numbered.where("images > 0").agg(F.min(length).alias("low"), F.max(length).alias("high")).collect()[0]
        digits = (agg["low"] or 0, agg["high"] or 0)
        if config.hash_col:
            config = replace(config, ready_bits=4 * digits[0] if digits[0] == digits[1] > 0 else None)
        packed = ""
        if count and can_pack(config):
            packed = self.index.packed_folder(self.token)
            blocks = pack(numbered, config).withColumn("run", F.lit(self.run))
            blocks.write.options(**ROW_GROUPS).mode("overwrite").parquet(self.index.path(packed))
        return Run(self.run, self.folder, count, distinct, digits, packed)

    def commit(self, added: Run, found: Found) -> None:
        """Raises:
        JobError: another run has changed the index since ``before`` was read.
        """
        try:
            self.index.commit(self.before, self.before.with_run(added, fingerprint_spec(found.config)))
        except JobError:
            self.index.discard(self.run, self.token)
            raise
        # Only now: an attempt thought dead that still writes cannot commit any more.
        for token in self.earlier:
            self.index.discard(self.run, token)


def begin(index: Index, state: State, run: str | None, earlier: Sequence[str] = ()) -> Addition:
    """One attempt at a run that adds to the index.

    Args:
        run: its id; None for a new one.
    """
    run = run or f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
    return Addition(index, run, uuid.uuid4().hex, state, tuple(earlier))


def _columns(found: Found, rows: DataFrame) -> DataFrame:
    """Of the rows that are added: ``rank`` and the index's columns but ``run`` and ``position``."""
    prints = found.prints
    names = found.source.inputs
    source = F.lit(names[0] if names else None).cast("string").alias("source")
    if INPUT in prints.columns and len(names) > 1:
        table = prints.sparkSession.createDataFrame(list(enumerate(names)), f"{INPUT} int, source string")
        # A line an input.
        prints, source = prints.join(F.broadcast(table), INPUT), F.col("source")
    elif len(names) > 1:
        source = F.lit(" ".join(names)).alias("source")
    hashes = key_parts(found.config)
    measured = ("texthash", "images", "width", "height", "bytes")
    slim = prints.select("order", F.col("id").cast("string").alias("id"), *hashes, *measured, source)
    return slim.join(rows.select("order", "rank"), "order").drop("order")
