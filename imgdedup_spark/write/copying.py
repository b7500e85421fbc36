"""Copying the rows that stay from shares of files into files of ``kept/``: by the workers, or by the driver what is
little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructField, StructType

from imgdedup_spark.errors import CopyMismatch, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.access import Carried
from imgdedup_spark.files.json_lines import copy_json_lines
from imgdedup_spark.files.parquet import copy_parquet
from imgdedup_spark.files.shares import Share
from imgdedup_spark.files.tar_samples import copy_tar
from imgdedup_spark.files.text_lines import copy_lines, ended, lines_of
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.order import ROW_BITS
from imgdedup_spark.spark.local import is_shared
from imgdedup_spark.spark.units import rows_of_units
from imgdedup_spark.write import small, tables

#: Bytes of input that the driver copies sooner than it tells a cluster to, and how many files at once.
HERE_BYTES, HERE_AT_ONCE = 64 << 20, 4
#: Of files that are not called as their kind.
ENDINGS = {"list": "txt"}


@dataclass(frozen=True)
class CopyFiles:
    """Where it is copied: a row of ``file``, ``shares``, ``gone`` and maybe ``extra`` → a file, and a row of counts."""

    kind: str
    folder: str
    emitted: tuple[str, ...]
    united: pa.Schema | None = None
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.to_pylist():
                yield from self.unit(task)

    def unit(self, task: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        """A task → how many rows it has written, or what is in the way."""
        yield pa.RecordBatch.from_pylist([self.copy(task)], pa.schema([("rows", pa.int64()), ("problem", pa.string())]))

    def copy(self, task: dict[str, Any]) -> dict[str, Any]:
        gone = np.asarray([] if task["gone"] is None else task["gone"], np.int64)
        extra = None
        if self.emitted:
            schema = pa.schema([("order", pa.int64()), *added_fields(self.emitted)])
            extra = pa.Table.from_pylist(task["extra"], schema)
        shares: list[Share] = []
        dropped: list[np.ndarray] = []
        more: list[pa.Table] = []
        for one in task["shares"]:
            base = one.pop("ordinal") << ROW_BITS
            shares.append(Share(**one))
            low, rows = base + one["first_row"], one["rows"]
            dropped.append(gone[(gone >= low) & (gone < low + rows)] - base)
            if extra is not None:
                start = int(np.searchsorted(extra.column("order").to_numpy(), low))
                more.append(extra.slice(start, rows).select(self.emitted))
        number = task["file"]
        out = storage.join(
            self.folder, self.names[number] if self.names else f"part-{number:05d}.{ENDINGS.get(self.kind, self.kind)}"
        )
        try:
            if self.kind == "parquet":
                rows = copy_parquet(shares, dropped, out, more or None, self.united, self.keys)
            elif self.kind == "webdataset":
                rows = copy_tar(shares, dropped, out)
            elif self.kind == "list":
                rows = copy_lines(shares, dropped, out, lambda share: map(ended, lines_of(share)))
            else:
                rows = copy_json_lines(shares, dropped, out, more or None)
            return {"rows": rows, "problem": None}
        except (CopyMismatch, UserError, OSError) as error:
            return {"rows": 0, "problem": str(error)}


def added_fields(emitted: Sequence[str]) -> list[tuple[str, pa.DataType]]:
    """Names and types of columns that are emitted."""
    return [(name, tables.EMITTED_TYPES[name]) for name in emitted]


def copied(
    found: Found, files: Sequence[Sequence[tuple[int, Share]]], emitted: Sequence[str], work: CopyFiles
) -> Sequence[Row | Mapping[str, Any]]:
    """What the tasks say, one for each file."""
    spark = found.prints.sparkSession
    plan = [(file, [{"ordinal": n, **asdict(share)} for n, share in group]) for file, group in enumerate(files)]
    if found.at_once is not None and not emitted:
        gone = small.gone(found.at_once, found.config.on_error)
        units = [{"file": file, "shares": shares, "gone": _within(gone, shares)} for file, shares in plan]
        if _is_little(found, files, work.folder):
            with ThreadPoolExecutor(HERE_AT_ONCE) as pool:
                return list(pool.map(work.copy, units))
        schema = StructType([StructField("rows", LongType()), StructField("problem", StringType())])
        return rows_of_units(spark, units, work.unit, schema).collect()
    share = "struct<ordinal:bigint,uri:string,first_row:bigint,rows:bigint,start:bigint,length:bigint>"
    tasks = spark.createDataFrame(plan, f"file int, shares array<{share}>")
    gone = _of_files(found.gone, files).groupBy("file").agg(F.collect_list("order").alias("gone"))
    tasks = tasks.join(gone, "file", "left")
    if emitted:
        rows = F.sort_array(F.collect_list(F.struct("order", *emitted))).alias("extra")
        tasks = tasks.join(_of_files(tables.emitted(found), files).groupBy("file").agg(rows), "file", "left")
    return (
        tasks.repartitionByRange(len(files), "file").mapInArrow(Carried(work), "rows bigint, problem string").collect()
    )


def _is_little(found: Found, files: Sequence[Sequence[tuple[int, Share]]], folder: str) -> bool:
    """Whether the driver copies it: what is in places that are the same to it as to the workers."""
    shares = [share for group in files for _, share in group]
    is_little = sum(share.length for share in shares) <= HERE_BYTES
    return is_little and all(map(is_shared, {folder, *(share.uri for share in shares)}))


def _within(gone: np.ndarray, shares: Sequence[dict[str, Any]]) -> np.ndarray:
    """Those of the rows, ascending, that may lie in consecutive shares."""
    low = (shares[0]["ordinal"] << ROW_BITS) + shares[0]["first_row"]
    high = (shares[-1]["ordinal"] << ROW_BITS) + shares[-1]["first_row"] + shares[-1]["rows"]
    return gone[slice(*np.searchsorted(gone, [low, high]))]


def _of_files(rows: DataFrame, files: Sequence[Sequence[tuple[int, Share]]]) -> DataFrame:
    """Adds ``file``, the number of the output file that a row's ``order`` belongs to."""
    ranges = [
        (ordinal, (ordinal << ROW_BITS) + share.first_row, share.rows, file)
        for file, group in enumerate(files)
        for ordinal, share in group
    ]
    table = rows.sparkSession.createDataFrame(ranges, "ordinal bigint, low bigint, rows bigint, file int")
    here = (F.col("order") >= F.col("low")) & (F.col("order") < F.col("low") + F.col("rows"))
    # A line a share: broadcast, so that only numbers of rows are shuffled, to the file they belong to.
    joined = rows.withColumn("ordinal", F.shiftright("order", ROW_BITS)).join(F.broadcast(table), "ordinal")
    return joined.where(here).drop("ordinal", "low", "rows")
