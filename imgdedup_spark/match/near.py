"""Near-duplicates among distinct keys: they go to a search, and its decisions come back as keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.vectors import Vectors
from imgdedup_spark.index.references import References
from imgdedup_spark.match.by_cosine import first_come as by_cosine
from imgdedup_spark.match.by_hash import first_come as by_hash
from imgdedup_spark.spark.workspace import Stage

#: ``first``, ``keeper``, ``is_reference``, ``distance`` and maybe ``max_similarity`` of every key; and a plan.
Answer = tuple[DataFrame, dict[str, Any]]


@dataclass(frozen=True)
class HashSearch:
    """Hashes within some bits. References are read packed where they are kept so."""

    prints: Prints
    stage: Stage
    references: References | None

    def __call__(self, keys: DataFrame, count: int, known: DataFrame | None, images: int) -> Answer:
        """Decides about distinct keys.

        Args:
            keys: ``key``, ``rank`` of rows with ``images`` images each.
            count: how many they are.
            known: the same of references.
        """
        items = _items(keys, self.prints, images)
        earlier = None if known is None else _items(known, self.prints, images)
        rows, packed = 0, None
        if self.references is not None:
            rows = self.references.rows
            if self.references.packed is not None:
                packed = self.references.packed.where(F.col("images") == images)
        decisions, plan = by_hash.first_come(
            items, count, self.prints.parts(images), stage=self.stage, references=earlier, known=rows, packed=packed
        )
        return decisions.withColumnRenamed("rank", "first"), plan

    def of_texts(self, equal: DataFrame) -> DataFrame:
        """What equal texts of rows without images have decided."""
        return equal


@dataclass(frozen=True)
class VectorSearch:
    """Embeddings of some cosine."""

    prints: Prints
    stage: Stage

    def __call__(self, keys: DataFrame, count: int, known: DataFrame | None, images: int) -> Answer:
        """As ``HashSearch``."""
        config = self.prints.config
        decisions, plan = by_cosine.first_come(
            _items(keys, self.prints, images),
            config.similarity,
            stage=self.stage,
            references=None if known is None else _items(known, self.prints, images),
            want_max=config.emit_hashes,
            images=images,
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

    def of_texts(self, equal: DataFrame) -> DataFrame:
        """As ``HashSearch``; nothing was compared, so that there is no distance."""
        return equal.withColumn("distance", F.lit(None).cast("int"))


def search_of(prints: Prints, stage: Stage, references: References | None) -> HashSearch | VectorSearch:
    """The search for prints of this kind."""
    if isinstance(prints, Vectors):
        return VectorSearch(prints, stage)
    return HashSearch(prints, stage, references)


def _items(rows: DataFrame, prints: Prints, images: int) -> DataFrame:
    """What a search takes: ``rank``, the key without the text (``Prints.item``), and as ``context`` what must be equal
    besides, if anything must: the text."""
    key, length = F.col("key"), prints.key_bytes(images)
    context = [F.substring(key, length + 1, 1 << 20).alias("context")] if prints.config.text_col else []
    return rows.select("rank", F.substring(key, 1, length).alias(prints.item), *context)
