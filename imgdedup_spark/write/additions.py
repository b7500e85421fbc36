"""What a run adds to the index: the rows it keeps, as far as they have something to compare."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet import write_alone
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.index.manifest import Index, Run, State
from imgdedup_spark.index.packed import ROW_GROUPS, pack
from imgdedup_spark.index.spec import check_spec, fingerprint_spec, index_schema
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.source import INPUT
from imgdedup_spark.spark.joins import number
from imgdedup_spark.spark.workspace import Stage
from imgdedup_spark.write.added import added_rows, can_add, packed_rows


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
    def past(self) -> tuple[Index, State]:
        """What the run is compared with: the index without what this run has added to it before."""
        return self.index, self.before.without(self.run)

    def resumed(self, run: str, tokens: Sequence[str]) -> Addition:
        """The same as another attempt at a run that was killed."""
        return replace(self, run=run, earlier=tuple(tokens))

    def add(self, found: Found, stage: Stage, *, distinct: bool = True) -> Run:
        """Writes and commits what the run adds.

        Args:
            distinct: whether ``found`` has left one row of each key.

        Raises:
            JobError: another run has changed the index since ``before`` was read.
        """
        added = self.write(found, stage, distinct=distinct)
        self.commit(added, found)
        return added

    @property
    def folder(self) -> str:
        return self.index.data_folder(self.run, self.token)

    def write(self, found: Found, stage: Stage, *, distinct: bool = True) -> Run:
        """Writes the rows. They count for nothing before ``commit``.

        Args:
            distinct: whether ``found`` has left one row of each key.
        """
        added = self._write_here(found, distinct) if can_add(found) else self._write_by_spark(found, stage, distinct)
        if found.never is None:
            return added
        added = replace(added, never=self.index.never_folder(self.token))
        with storage.open_output(self.index.pairs(added)) as stream:
            pq.write_table(found.never, stream)
        return added

    def _write_here(self, found: Found, distinct: bool) -> Run:
        rows, digits = added_rows(found, self.run)
        kind, packed = found.kind.sized(*digits), ""
        if len(rows):
            write_alone(rows, self.index.path(self.folder))
        if len(rows) and kind.can_pack:
            packed = self.index.packed_folder(self.token)
            # A block is a row group, so that as many tasks as there are blocks can read them.
            blocks = packed_rows(rows, kind, self.run)
            write_alone(blocks, self.index.path(packed), row_group_size=1, use_dictionary=False)
        return Run(self.run, self.folder, len(rows), distinct, digits, packed)

    def _write_by_spark(self, found: Found, stage: Stage, distinct: bool) -> Run:
        kind = found.kind
        rows = found.rows.join(found.dropped.select("order"), "order", "left_anti")
        numbered, count = number(_columns(found, rows), "rank", "position", stage)
        uri = self.index.path(self.folder)
        if count:
            named = numbered.withColumn("run", F.lit(self.run))
            columns = index_schema(kind).fieldNames()
            kind.readable(named).select(*columns).write.mode("overwrite").parquet(uri)
        size = kind.sizes()
        sizes = numbered.where("images > 0").agg(F.min(size).alias("low"), F.max(size).alias("high")).collect()[0]
        digits = (sizes["low"] or 0, sizes["high"] or 0)
        kind = kind.sized(*digits)
        packed = ""
        if count and kind.can_pack:
            packed = self.index.packed_folder(self.token)
            blocks = pack(numbered, kind).withColumn("run", F.lit(self.run))
            blocks.write.options(**ROW_GROUPS).mode("overwrite").parquet(self.index.path(packed))
        return Run(self.run, self.folder, count, distinct, digits, packed)

    def commit(self, added: Run, found: Found) -> None:
        """Raises:
        JobError: another run has changed the index since ``before`` was read.
        """
        try:
            self.index.commit(self.before, self.before.with_run(added, fingerprint_spec(found.kind)))
        except JobError:
            self.index.discard(self.run, self.token)
            raise
        # Only now: an attempt thought dead that still writes cannot commit any more.
        for token in self.earlier:
            self.index.discard(self.run, token)


def begin(index: Index, kind: Prints, run: str | None, where: str, *, alone: bool = False) -> Addition:
    """A run that adds to the index.

    Args:
        run: its id; None for a new one.
        where: how the caller has named the index.
        alone: no other run adds to it meanwhile, or this one does not.

    Raises:
        UserError: the index was made with other options, or lies where of two runs at a time both might add to it.
    """
    state = index.read()
    check_spec(state, kind, where)
    if not alone and not index.one_commits():
        raise UserError(
            f"{where}: nothing on this store keeps two runs from committing at the same moment, and what one of them "
            "adds from being lost; if no other run adds to this index meanwhile, say so by --index-single-writer"
        )
    run = run or f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
    return Addition(index, run, uuid.uuid4().hex, state)


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
    hashes = (*found.kind.columns, *found.kind.beside)
    measured = ("texthash", "images", "flat", "width", "height", "bytes")
    slim = prints.select("order", F.col("id").cast("string").alias("id"), *hashes, *measured, source)
    return slim.join(rows.select("order", "rank"), "order").drop("order")
