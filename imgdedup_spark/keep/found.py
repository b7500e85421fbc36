"""What a run knows once every row is decided."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.prints import Tally, failed
from imgdedup_spark.index.references import References
from imgdedup_spark.read.order import PIECE, PlacedPiece
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.joins import keepers


@dataclass(frozen=True)
class Found:
    """What a run knows once every row is decided.

    Attributes:
        prints: one fingerprint a row, with ``id`` and ``order`` (see ``fingerprints``).
        tallies: how much there is of each input (None: of inputs unknown).
        rows: ``order`` and ``rank`` of the rows that were compared.
        dropped: ``order`` (and ``piece`` and ``input``, as far as they are known), ``kept_order``, ``reference``
            (one of the two, the other is null), ``distance``, ``similarity``, ``reason``; one row for each duplicate.
            Of a run in stages also ``stage`` and ``via_order`` (see ``stages``).
        dropped_count: how many those are.
        pieces: the files' pieces, where the source has them.
        plan: how near-duplicates were searched.
        references: what was there before the run.
        highest: ``order`` and ``max_similarity``, if asked for.
        vectors: ``order`` and ``vector``, where ``prints`` has no vectors of its own.
    """

    source: Source
    config: DedupConfig
    prints: DataFrame
    tallies: dict[int | None, Tally]
    rows: DataFrame
    dropped: DataFrame
    dropped_count: int
    pieces: list[PlacedPiece]
    plan: dict[str, Any]
    references: References | None = None
    highest: DataFrame | None = None
    vectors: DataFrame | None = None

    @cached_property
    def gone(self) -> DataFrame:
        """``order`` (and ``piece``) of every row that does not stay."""
        columns = ["order", PIECE] if self.source.in_pieces else ["order"]
        orders = self.dropped.select(*columns)
        if self.config.on_error == "drop":
            orders = orders.unionByName(failed(self.prints).select(*columns))
        return orders

    @property
    def dropped_on_error(self) -> int:
        """How many rows go because an image is unreadable."""
        if self.config.on_error != "drop":
            return 0
        return sum(one.rows_with_errors for one in self.tallies.values())

    @property
    def kept_count(self) -> int:
        """How many rows stay."""
        return sum(one.rows for one in self.tallies.values()) - self.dropped_count - self.dropped_on_error

    @cached_property
    def groups(self) -> DataFrame:
        """``kept_order`` of every row that stands for others, and ``size``, how many."""
        return keepers(self.dropped.where("kept_order is not null"), "kept_order")

    @cached_property
    def group_count(self) -> int:
        return self.groups.count()
