"""Few hashes against many: the few go to every task by broadcast, the many stay where they are and are read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.bands import Words
from imgdedup_spark.hamming import Matcher
from imgdedup_spark.near_blocks import BLOCK_HASHES, Ranks, block_batch, join_tables, tables, values
from imgdedup_spark.near_shuffle import FOUND_SCHEMA, QUERY, REFERENCE, TARGET, earliest, search_unit

_TARGET_SCHEMA = "target_ranks binary, target_words binary"

#: Reads the targets in one row of a batch.
ReadTargets = Callable[[Matcher, Any, int], tuple[Ranks, Words]]


def lookup_by_broadcast(matcher: Matcher, queries: DataFrame, targets: DataFrame, references: bool) -> DataFrame:
    """The earliest neighbour among the targets of every query that has one (``FOUND_SCHEMA``).

    Args:
        queries: a table in blocks (``TABLE_SCHEMA``), small enough for a broadcast.
        targets: rank, code and (with contexts) context.
        references: whether the targets come before all queries; else only those of a smaller rank count.
    """

    def pack(batches: Iterator[Any]) -> Iterator[Any]:
        for ranks, words in tables(matcher, batches, BLOCK_HASHES):
            yield block_batch(target_ranks=ranks, target_words=words)

    columns = ["rank", "code", *(["context"] if matcher.contexts else [])]
    packed = targets.select(*columns).mapInArrow(pack, _TARGET_SCHEMA)
    return _lookup(matcher, queries, packed, _read_table, REFERENCE if references else TARGET)


def lookup_packed(matcher: Matcher, queries: DataFrame, packed: DataFrame) -> DataFrame:
    """The same for references that are packed already (``packed.PACKED``) and have no contexts."""
    return _lookup(matcher, queries, packed.select("base", "positions", "codes"), _read_packed, REFERENCE)


def _lookup(matcher: Matcher, queries: DataFrame, targets: DataFrame, read: ReadTargets, role: int) -> DataFrame:
    def search(batches: Iterator[Any]) -> Iterator[Any]:
        # By block of the queries, which nearly always are one.
        gathered: defaultdict[int, list[tuple[Ranks, Words]]] = defaultdict(list)
        blocks: dict[int, tuple[Ranks, Words]] = {}

        def search_gathered(block: int) -> Iterator[Any]:
            sides = [(join_tables(matcher, gathered.pop(block)), role), (blocks[block], QUERY)]
            ranks, words = (np.concatenate([side[i] for side, _ in sides]) for i in (0, 1))
            roles = np.concatenate([np.full(len(side[0]), part, dtype=np.uint8) for side, part in sides])
            yield from search_unit(matcher, (), ranks, words, roles)

        for batch in batches:
            for row in range(batch.num_rows):
                block = batch.column("block")[row].as_py()
                words = values(batch, "words", row, np.uint64).reshape(-1, matcher.width)
                blocks[block] = values(batch, "ranks", row, np.int64), words
                gathered[block].append(read(matcher, batch, row))
                # Few targets are not worth a search: the queries are put into buckets each time.
                if sum(len(ranks) for ranks, _ in gathered[block]) >= BLOCK_HASHES:
                    yield from search_gathered(block)
        for block in list(gathered):
            yield from search_gathered(block)

    # Broadcast because every block of targets is searched for all of them (NearOptions.lookup_hashes bounds their
    # number).
    joined = targets.crossJoin(F.broadcast(queries.select("block", "ranks", "words")))
    return earliest(joined.mapInArrow(search, FOUND_SCHEMA))


def _read_table(matcher: Matcher, batch: Any, row: int) -> tuple[Ranks, Words]:
    words = values(batch, "target_words", row, np.uint64).reshape(-1, matcher.width)
    return values(batch, "target_ranks", row, np.int64), words


def _read_packed(matcher: Matcher, batch: Any, row: int) -> tuple[Ranks, Words]:
    ranks = values(batch, "positions", row, np.int64) + batch.column("base")[row].as_py()
    return ranks, matcher.pack(values(batch, "codes", row, np.uint8).reshape(len(ranks), -1))
