"""Where intermediate tables are frozen: written and read back, or kept in the session if no folder is given.

Reading back cuts the lineage: what follows is planned from a small Parquet table of known size, nothing is
computed twice, and nothing needs `persist`, which some serverless platforms refuse.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.utils import is_remote

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet import write_alone
from imgdedup_spark.files.sharing import delete_empty
from imgdedup_spark.spark.local import from_driver, to_driver
from imgdedup_spark.spark.written import read_back

Stage = Callable[[str, DataFrame], DataFrame]


class Workspace(Protocol):
    """Freezes tables by name."""

    def freeze(self, frame: DataFrame) -> DataFrame:
        """A DataFrame of the caller's, pictures and all, whose rows are to be the same at every reading."""

    def stage(self, name: str, frame: DataFrame) -> DataFrame: ...

    def local(self, spark: SparkSession, name: str, table: pa.Table) -> DataFrame:
        """A DataFrame of a table that the driver holds."""

    def cut(self, frame: DataFrame) -> DataFrame:
        """What was frozen, with a short plan: many steps can be planned upon it."""

    def close(self) -> None: ...


#: Rows of a table that the driver takes and gives back: some megabytes, even of vectors.
CUT_ROWS = 20_000
#: Readers of Spark's pass over names that begin so: the folder may lie beside data.
_PREFIX = "_imgdedup-"


def is_workspace(name: str) -> bool:
    """Whether a folder's name is that of a ``FolderWorkspace``."""
    return name.startswith(_PREFIX)


class FolderWorkspace:
    """Freezes tables as Parquet in a folder of its own, made in one that every executor can reach; ``close`` deletes
    that and nothing else, and what it was made in if that was not there before."""

    def __init__(self, parent: str) -> None:
        self._parent, self._made = parent, not storage.exists(parent)
        self.folder = storage.join(storage.rooted(parent), _PREFIX + uuid.uuid4().hex)
        self._used: dict[str, int] = {}

    def freeze(self, frame: DataFrame) -> DataFrame:
        return self.stage("numbered", frame)

    def stage(self, name: str, frame: DataFrame) -> DataFrame:
        count = self._used[name] = self._used.get(name, 0) + 1
        path = storage.join(self.folder, name if count == 1 else f"{name}-{count}")
        frame.write.mode("overwrite").parquet(path)
        return read_back(frame.sparkSession, frame.schema, path)

    def local(self, spark: SparkSession, name: str, table: pa.Table) -> DataFrame:
        if is_remote():  # whose disk may be another
            return from_driver(spark, table)
        path = storage.join(self.folder, f"{name}-{uuid.uuid4().hex}")
        write_alone(table, path)
        return read_back(spark, from_arrow_schema(table.schema), path)

    def cut(self, frame: DataFrame) -> DataFrame:
        return frame  # its plan begins with a file that was read back

    def close(self) -> None:
        storage.delete(self.folder)
        if self._made:
            delete_empty(self._parent)


class SessionWorkspace:
    """Freezes tables in the session's own storage. What is small is cut loose from what made it; the rest is persisted,
    for a DataFrame of the caller's may be expensive, and sorted numbers must not be made twice. ``close`` lets go of
    them."""

    def __init__(self, *, held: bool = False) -> None:
        """Args:
        held: whether every table that is staged may come to the driver, so that nothing needs to be persisted.
        """
        self._held, self._long = held, False
        self._frames: list[DataFrame] = []
        self._cut: list[DataFrame] = []

    def freeze(self, frame: DataFrame) -> DataFrame:
        self._frames.append(_persisted(frame))
        self._frames[-1].count()
        return self._frames[-1]

    def stage(self, name: str, frame: DataFrame) -> DataFrame:
        if self._held:
            return from_driver(frame.sparkSession, to_driver(frame), frame.schema)
        kept = _persisted(frame)
        if kept.count() <= CUT_ROWS:
            # What is persisted keeps the plan that made it, and a few rows are read faster than that is planned.
            with suppress(PySparkException, pa.ArrowException, TypeError, ValueError):
                cut = from_driver(frame.sparkSession, to_driver(kept), frame.schema)
                kept.unpersist()
                return cut
        self._long = True
        self._frames.append(kept)
        return kept

    def local(self, spark: SparkSession, name: str, table: pa.Table) -> DataFrame:
        return from_driver(spark, table)

    def cut(self, frame: DataFrame) -> DataFrame:
        if not self._long:
            return frame
        # What is persisted keeps the plans of all that it was made from, each as often as it was used: after two rounds
        # of joins Spark runs out of memory writing it down.
        try:
            self._cut.append(frame.localCheckpoint())
        except PySparkException as error:
            raise _needs_folder(error) from None
        return self._cut[-1]

    def close(self) -> None:
        for frame in self._frames:
            frame.unpersist()
        for frame in self._cut:
            # Not in the cache that `unpersist` looks in. A Connect server drops it with the last reference.
            if not is_remote():
                frame._jdf.queryExecution().analyzed().rdd().unpersist(False)
        self._frames.clear()
        self._cut.clear()


def _persisted(frame: DataFrame) -> DataFrame:
    """Raises:
    UserError: the platform refuses.
    """
    try:
        return frame.persist()
    except PySparkException as error:
        raise _needs_folder(error) from None


def _needs_folder(error: Exception) -> UserError:
    return UserError(
        f"staging: tables cannot be kept in this Spark session ({first_line(error)}); give a folder that all executors "
        "reach, as staging"
    )
