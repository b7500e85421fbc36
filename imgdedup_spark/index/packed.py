"""The index's hashes once more, packed: what a run reads that compares few new rows with many indexed ones.

A row holds up to a million hashes as a few large values, so that neither the JVM nor Arrow handles them one by one.
Other tools read the rows themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.kernels.arrow import BLOCK_HASHES, block_batch, fixed_bytes

#: ``images``, which all hashes of the row have; ``rows``, how many they are; int64 ``positions`` within what the run
#: added; ``codes``, as the near-duplicate search takes them, one after another.
PACKED = "images int, rows int, positions binary, codes binary"
#: How they are written: a block is a row group, so that as many tasks as there are blocks can read them. (Parquet looks
#: at the size after so many rows of a page.)
ROW_GROUPS = {"parquet.block.size": "4194304", "parquet.page.size.row.check.min": "1"}


def pack(rows: DataFrame, kind: Prints) -> DataFrame:
    """``PACKED``, of the rows with images, none of which is flat.

    Args:
        rows: ``position``, ``images``, ``flat`` and the hash columns.
        kind: one that ``can_pack``.
    """
    slim = rows.where("images > 0 and flat is null").select("images", "position", kind.key().alias("code"))
    return slim.mapInArrow(_pack, PACKED)


def packed_block(images: int, positions: np.ndarray, codes: np.ndarray) -> Any:
    """``PACKED``, one row.

    Args:
        positions: (n,) int64.
        codes: (n, code bytes).
    """
    return block_batch(images=images, rows=len(positions), positions=positions, codes=codes)


def _pack(batches: Iterator[Any]) -> Iterator[Any]:
    gathered: defaultdict[int, list[tuple[Any, Any]]] = defaultdict(list)

    def block(images: int) -> Any:
        positions, codes = (np.concatenate(part) for part in zip(*gathered.pop(images), strict=True))
        return packed_block(images, positions, codes)

    for batch in batches:
        every = batch.column("images").to_numpy()
        for images in np.unique(every).tolist():
            some = batch.take(np.flatnonzero(every == images))
            codes = some.column("code")
            positions = some.column("position").to_numpy()
            gathered[images].append((positions, fixed_bytes(codes, len(codes[0].as_py()))))
            if sum(len(one) for one, _ in gathered[images]) >= BLOCK_HASHES:
                yield block(images)
    for images in list(gathered):
        yield block(images)
