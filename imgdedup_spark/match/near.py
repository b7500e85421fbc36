"""Near-duplicates among distinct keys: they go to a search, and its decisions come back as keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.apart import NUMBER, shared_key
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.vectors import Vectors
from imgdedup_spark.index.references import References
from imgdedup_spark.kernels.barred import Exclusions, Numbers
from imgdedup_spark.match.by_cosine import first_come as by_cosine
from imgdedup_spark.match.by_hash import first_come as by_hash
from imgdedup_spark.spark.local import to_driver
from imgdedup_spark.spark.workspace import Stage

#: ``first``, ``keeper``, ``is_reference``, ``distance`` and maybe ``max_similarity`` of every key; and a plan.
Answer = tuple[DataFrame, dict[str, Any]]


@dataclass(frozen=True)
class HashSearch:
    """Hashes within some bits. References are read packed where they are kept so."""

    prints: Prints
    stage: Stage
    references: References | None
    excluded: Exclusions
    among: bool = True

    def __call__(self, keys: DataFrame, count: int, known: DataFrame | None, images: int) -> Answer:
        """Decides about distinct keys.

        Args:
            keys: ``key``, ``rank`` of rows with ``images`` images each.
            count: how many they are.
            known: the same of references.
        """
        items = _items(keys, self.prints, images)
        frame = None if known is None else _items(known, self.prints, images)
        rows, packed = 0, None
        if self.references is not None:
            rows = self.references.rows
            if self.references.packed is not None:
                packed = self.references.packed.where(F.col("images") == images)
        decisions, plan = by_hash.first_come(
            items,
            count,
            self.prints.parts(images),
            stage=self.stage,
            earlier=by_hash.Earlier(frame, rows, packed, self.excluded.references),
            among=self.among,
            barred=self.excluded.barred,
        )
        return decisions.withColumnRenamed("rank", "first"), plan

    def of_texts(self, equal: DataFrame) -> DataFrame:
        """What equal texts of rows without images have decided."""
        return equal


@dataclass(frozen=True)
class VectorSearch:
    """Embeddings of some cosine."""

    prints: Vectors
    stage: Stage
    excluded: Exclusions

    def __call__(self, keys: DataFrame, count: int, known: DataFrame | None, images: int) -> Answer:
        """As ``HashSearch``."""
        config, items = self.prints.config, _items(keys, self.prints, images)
        if self.prints.background is not None:
            items = by_cosine.with_background(items, self.prints.background, images)
            items = self.stage("with_background", items)
        decisions, plan = by_cosine.first_come(
            items,
            config.similarity,
            stage=self.stage,
            references=None if known is None else _items(known, self.prints, images),
            want_max=config.emit_hashes,
            images=images,
            excluded=self._by_rank(keys),
        )
        more = ["max_similarity"] if config.emit_hashes else []
        found = decisions.select(
            F.col("rank").alias("first"),
            F.coalesce("keeper", "rank").alias("keeper"),
            "is_reference",
            (1 - F.col("similarity")).alias("distance"),
            *more,
        )
        # Its decisions are planned from joins; they are read for the dropped rows and for max_similarity.
        return (self.stage("near_embeddings", found) if more else found), plan

    def _by_rank(self, keys: DataFrame) -> Exclusions:
        """What is excluded, with the keys' ranks."""
        if NUMBER not in keys.columns:
            return self.excluded
        named = to_driver(keys.where(f"{NUMBER} > 0").select("rank", NUMBER)).sort_by("rank")
        numbers = Numbers(*(np.asarray(named.column(name)) for name in ("rank", NUMBER)))
        return replace(self.excluded, rows=numbers)

    def of_texts(self, equal: DataFrame) -> DataFrame:
        """As ``HashSearch``; nothing was compared, so that there is no distance."""
        return equal.withColumn("distance", F.lit(None).cast("int"))


def search_of(
    prints: Prints,
    stage: Stage,
    references: References | None,
    excluded: Exclusions | None = None,
    *,
    among: bool = True,
) -> HashSearch | VectorSearch:
    """The search for prints of this kind.

    Args:
        among: whether rows are compared with each other as well as with references; embeddings always are.
    """
    excluded = excluded or Exclusions()
    if isinstance(prints, Vectors):
        return VectorSearch(prints, stage, excluded)
    return HashSearch(prints, stage, references, excluded, among)


def _items(rows: DataFrame, prints: Prints, images: int) -> DataFrame:
    """What a search takes: ``rank``, the key without the text (``Prints.item``), and as ``context`` what must be equal
    besides, if anything must: the text; and ``number``, if some rows have one."""
    has_numbers = NUMBER in rows.columns
    key, length = shared_key() if has_numbers else F.col("key"), prints.key_bytes(images)
    context = [F.substring(key, length + 1, 1 << 20).alias("context")] if prints.config.text_col else []
    return rows.select(
        "rank", F.substring(key, 1, length).alias(prints.item), *context, *([NUMBER] if has_numbers else [])
    )
