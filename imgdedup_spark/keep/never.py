"""``--never`` in a run: which rows, and which of those that were there before, are never matched with each other."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.files.never import Never, read_never
from imgdedup_spark.hash.apart import find_numbers, numbers_in
from imgdedup_spark.index.references import Past, References, recorded_pairs
from imgdedup_spark.kernels.barred import Exclusions, pack_pairs
from imgdedup_spark.read.source import ORDER
from imgdedup_spark.spark.local import to_driver

log = logging.getLogger("imgdedup")
_SHOWN = 3


@dataclass(frozen=True)
class NeverMatched:
    """Attributes:
    given: the pairs of ids that the options name; None if they name none.
    never: those, and the pairs that indexes know.
    """

    given: pa.Table | None
    never: Never

    @classmethod
    def of(cls, config: DedupConfig, past: Past) -> NeverMatched | None:
        """None if there is no pair to mind.

        Raises:
            UserError: the file is not there, or is no such file.
        """
        given = None if config.never is None else read_never(config.never)
        tables = [*([] if given is None else [given]), *recorded_pairs(past)]
        return cls(given, Never.of(tables)) if tables else None

    def exclusions(self, prints: DataFrame, table: pa.Table | None, references: References | None) -> Exclusions:
        """What never matches, of rows and references.

        Args:
            prints, table: have ``order`` and ``id``; the same, the latter in the driver if they are there.
        """
        rows = find_numbers(prints, self.never, ORDER) if table is None else numbers_in(table, self.never, ORDER)
        found = Exclusions(pack_pairs(self.never.pairs), rows)
        if references is None or not references.rows:
            return found
        return replace(found, references=find_numbers(references.frame, self.never, "rank"))

    def unknown(self, excluded: Exclusions) -> list[str]:
        """The ids of the file that no row has, told in one line."""
        if self.given is None:
            return []
        known = {*excluded.rows.numbers.tolist(), *excluded.references.numbers.tolist()}
        unknown = self.never.unknown(known, self.given)
        if unknown:
            more = ", …" if len(unknown) > _SHOWN else ""
            shown = ", ".join(map(repr, unknown[:_SHOWN]))
            log.warning("--never: %s ids of its pairs are no row's: %s%s", f"{len(unknown):,}", shown, more)
        return unknown

    def moved(self, prints: DataFrame, dropped: DataFrame) -> NeverMatched:
        """The same for the rows that stay in the place of others: what must not match the one must not match the other.

        Args:
            prints: ``order`` and ``id``.
            dropped: ``order`` and ``kept_order``.
        """
        named = find_numbers(prints, self.never, ORDER)
        few = prints.sparkSession.createDataFrame([(one,) for one in named.ranks.tolist()], f"{ORDER} bigint")
        ids = prints.select(ORDER, F.col("id").cast("string").alias("id"))
        kept = ids.select(F.col(ORDER).alias("kept_order"), F.col("id").alias("kept_id"))
        # Broadcasts of what people have written down.
        gone = F.broadcast(dropped.join(F.broadcast(few), ORDER).select(ORDER, "kept_order"))
        found = to_driver(F.broadcast(ids.join(gone, ORDER)).join(kept, "kept_order").select("id", "kept_id"))
        keepers = dict(zip(*(found.column(name).to_pylist() for name in ("id", "kept_id")), strict=True))
        return replace(self, never=self.never.moved(keepers))
