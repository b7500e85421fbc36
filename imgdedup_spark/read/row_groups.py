"""How row groups of Parquet files become tasks' work: several of them one task's, or one of them several tasks'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TypeAlias

from pyspark.sql import SparkSession

from imgdedup_spark.spark.settings import TASKS_A_CORE, partition_bytes, task_bytes

#: Bytes of row groups that are worth a task of their own.
LEAST_BYTES = 16 << 20
#: Parts of row groups go to tasks by chance: so many tasks for each part's worth of bytes, so that few have several.
TASKS_A_PART = 2
#: Parts of one row group: where nothing tells a reader how to pass over what is before its own, it reads that, too.
MOST_PARTS = 16
#: (rows, bytes) of row groups.
Groups: TypeAlias = Sequence[tuple[int, int]]


def target_bytes(spark: SparkSession, files: Iterable[Groups]) -> int:
    """Bytes of row groups in one task."""
    total = sum(size for groups in files for _, size in groups)
    if total <= TASKS_A_CORE * LEAST_BYTES:  # however many cores there are, which may be long to find out
        return LEAST_BYTES
    return task_bytes(spark, total, LEAST_BYTES, partition_bytes(spark))


def is_large(groups: Groups, target: int) -> bool:
    """Whether one of the row groups should be several tasks'."""
    return max((size for _, size in groups), default=0) > 2 * target


def part_rows(groups: Groups, target: int) -> int:
    """Rows of about so many bytes."""
    rows, size = map(sum, zip(*groups, strict=True))
    largest, _ = max(groups, key=itemgetter(1))
    return max(1, rows * target // max(1, size), -(-largest // MOST_PARTS))


def pieces(groups: Sequence[tuple[int, tuple[int, int]]], target: int) -> Iterator[tuple[tuple[int, int, int], ...]]:
    """Row groups as they are, or one that is too large for a task in pieces of about the size of one.

    Args:
        groups: each with its number in its file.

    Returns:
        Of each task the row groups' numbers, the first of their rows, and how many.
    """
    if len(groups) > 1:
        yield tuple((number, 0, rows) for number, (rows, _) in groups)
        return
    [(number, group)] = groups
    most = part_rows([group], target) if is_large([group], target) else max(1, group[0])
    for first in range(0, max(1, group[0]), most):
        yield ((number, first, min(most, group[0] - first)),)
