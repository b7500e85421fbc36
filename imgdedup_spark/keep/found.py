"""What a run knows once every row is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.problems import failed
from imgdedup_spark.hash.tallies import Tally
from imgdedup_spark.index.references import References
from imgdedup_spark.keep.at_once import AtOnce
from imgdedup_spark.read.source import ORDER, Placed, Source
from imgdedup_spark.spark.joins import keepers


@dataclass(frozen=True)
class Found:
    """What a run knows once every row is decided.

    Attributes:
        placed: the source, and one print a row, with ``id`` and ``order``.
        kind: what the rows were compared by (of a run in stages: in the last one).
        config: the run's options.
        tallies: how much there is of each input (None: of inputs unknown).
        rows: ``order`` and ``rank`` of the rows that were compared.
        dropped: one row for each duplicate (``keep.drop``). Of a run in stages also ``stage`` and ``via_order`` (see
            ``stages``).
        dropped_count: how many those are.
        plan: how near-duplicates were searched.
        references: what was there before the run.
        highest: ``order`` and ``max_similarity``, if asked for.
        at_once: the same decisions in the driver, if the run was small enough.
        never: ids, ``a`` and ``b``, that the options say are never matched; None if they do not.
        unknown: those of them that are nobody's.
        vectors: ``order`` and ``vector``, where ``prints`` has no vectors of its own.
    """

    placed: Placed
    kind: Prints
    config: DedupConfig
    tallies: Mapping[int | None, Tally]
    rows: DataFrame
    dropped: DataFrame
    dropped_count: int
    plan: dict[str, Any]
    references: References | None = None
    highest: DataFrame | None = None
    vectors: DataFrame | None = None
    at_once: AtOnce | None = None
    never: pa.Table | None = None
    unknown: Sequence[str] = ()

    @property
    def source(self) -> Source:
        return self.placed.source

    @property
    def prints(self) -> DataFrame:
        return self.placed.prints

    @cached_property
    def gone(self) -> DataFrame:
        """``order`` of every row that does not stay."""
        orders = self.dropped.select(ORDER)
        return orders.unionByName(failed(self.prints).select(ORDER)) if self.config.on_error == "drop" else orders

    @property
    def rows_in(self) -> int:
        return sum(one.rows for one in self.tallies.values())

    @property
    def dropped_on_error(self) -> int:
        """How many rows go because an image is unreadable."""
        if self.config.on_error != "drop":
            return 0
        return sum(one.rows_with_errors for one in self.tallies.values())

    @property
    def kept_count(self) -> int:
        """How many rows stay."""
        return self.rows_in - self.dropped_count - self.dropped_on_error

    @cached_property
    def groups(self) -> DataFrame:
        """``kept_order`` of every row that stands for others, and ``size``, how many."""
        return keepers(self.dropped.where("kept_order is not null"), "kept_order")

    @cached_property
    def group_count(self) -> int:
        return self.groups.count()
