"""What matching found.

Rows of equal keys are collapsed by an aggregation that combines on the map side, so that a blank image repeated ten
million times is no hot key; near-duplicates are then searched among the distinct keys only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

#: Longer keys travel as their SHA-256, which is as good as unique.
KEY_BYTES = 32


@dataclass(frozen=True)
class Decided:
    """Which distinct keys have something to drop, and for whom.

    Attributes:
        frame: one row for each such key: ``key`` (``short``); ``first``, the rank of its earliest row; ``size``, how
            many rows have it; ``keeper``, the rank of the row that stands for it (its own ``first``, or a near row's);
            ``distance`` in bits, or 1 − cosine (null where there are no embeddings to compare: rows without images);
            ``is_reference``, whether ``keeper`` is the rank of a row that was there before this run; if some rows never
            match others, ``is_same``, whether the keeper is a row of the run with the same key: else its own group's
            ``first`` alone can be that.
        count: its rows.
        plan: how near-duplicates were searched.
        highest: for embeddings, if asked for: ``first`` of each distinct key that was compared, and
            ``max_similarity``, its highest cosine with any other row (null without one).
    """

    frame: DataFrame
    count: int
    plan: dict[str, Any] = field(default_factory=dict)
    highest: DataFrame | None = None


def short(key: Column) -> Column:
    """A key of bounded length that is equal where keys are."""
    return F.when(F.length(key) <= KEY_BYTES, key).otherwise(F.unhex(F.sha2(key, 256)))
