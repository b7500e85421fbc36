"""Few hashes against many: the few go to every task by broadcast, the many stay where they are and are read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hamming import Matcher
from imgdedup_spark.near_blocks import BLOCK_HASHES, block_batch, tables, values
from imgdedup_spark.near_shuffle import FOUND_SCHEMA, QUERY, REFERENCE, TARGET, earliest, search_unit

_TARGET_SCHEMA = "target_ranks binary, target_words binary"


def lookup_by_broadcast(matcher: Matcher, queries: DataFrame, targets: DataFrame, references: bool) -> DataFrame:
    """The earliest neighbour among the targets of every query that has one (``FOUND_SCHEMA``).

    Args:
        queries: a table in blocks (``TABLE_SCHEMA``), small enough for a broadcast.
        targets: rank, code and (with contexts) context.
        references: whether the targets come before all queries; else only those of a smaller rank count.
    """
    role = REFERENCE if references else TARGET

    def pack(batches: Iterator[Any]) -> Iterator[Any]:
        for ranks, words in tables(matcher, batches, BLOCK_HASHES):
            yield block_batch(target_ranks=ranks, target_words=words)

    def search(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            for row in range(batch.num_rows):
                sides = [
                    (
                        values(batch, prefix + "ranks", row, np.int64),
                        values(batch, prefix + "words", row, np.uint64).reshape(-1, matcher.width),
                        part,
                    )
                    for prefix, part in (("target_", role), ("", QUERY))
                ]
                ranks, words = (np.concatenate([side[i] for side in sides]) for i in (0, 1))
                roles = np.concatenate([np.full(len(side[0]), side[2], dtype=np.uint8) for side in sides])
                yield from search_unit(matcher, (), ranks, words, roles)

    columns = ["rank", "code", *(["context"] if matcher.contexts else [])]
    packed = targets.select(*columns).mapInArrow(pack, _TARGET_SCHEMA)
    # Broadcast because every block of targets is searched for all of them (NearOptions.lookup_hashes bounds their
    # number).
    joined = packed.crossJoin(F.broadcast(queries.select("ranks", "words")))
    return earliest(joined.mapInArrow(search, FOUND_SCHEMA))
