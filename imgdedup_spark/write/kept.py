"""Writing ``kept/``: the rows that stay, exactly as they were, in input order, and no picture in a shuffle.

Parquet and JSON lines that stay what they are are copied share by share (``files``): faster than through Spark, and
true to what Spark does not model (a file's own metadata, the spelling of a JSON number). Everything
else is written by Spark.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.errors import CopyMismatch, JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.json_lines import copy_json_lines
from imgdedup_spark.files.parquet import copy_parquet, write_empty_parquet
from imgdedup_spark.files.shares import Share, grouped
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.order import PIECE, ROW_BITS, PlacedPiece, runs_of_files
from imgdedup_spark.read.source import ID, scan
from imgdedup_spark.spark.settings import picture_settings
from imgdedup_spark.write import tables
from imgdedup_spark.write.output import Output

log = logging.getLogger("imgdedup")


#: A file of kept/ holds the kept rows of about this many bytes of input: large enough for any reader, …
FILE_BYTES = 128 << 20


#: … and less where there is little, so that all cores have something to write.
LEAST_FILE_BYTES, FEWEST_FILES = 16 << 20, 8


#: Scans in one plan. Each costs the driver some milliseconds, and a plan of thousands costs minutes.
MAX_SCANS = 200


def write_kept(found: Found, output: Output, output_format: str | None) -> None:
    """Args:
        output_format: ``parquet`` or ``jsonl``; None for the input's.

    Raises:
        JobError: another number of rows came out; the input changed under the job.
    """
    if not found.source.columns:
        return
    native = "jsonl" if found.source.format in ("jsonl", "images") else "parquet"
    kind = output_format or native
    written = _by_copying(found, output) if _can_copy(found, kind, output.folder) else None
    if kind == "parquet" == found.source.format and not found.pieces and not found.source.partitioned:
        written = _empty(found, output)
    if written is None:
        written = _by_spark(found, output, kind)
    if written != found.kept_count:
        raise JobError(
            f"kept/ has {written} rows and should have {found.kept_count}: did the input change during the run?"
        )


def _can_copy(found: Found, kind: str, folder: str) -> bool:
    source = found.source
    if source.format != kind or source.partitioned or not found.pieces:
        return False
    try:
        storage.check_workers(storage.from_spark(found.pieces[0].uri))
        storage.check_workers(folder)
    except UserError as error:
        log.info("kept/ is written by Spark: %s", error)
        return False
    return True


def files_of(pieces: Sequence[PlacedPiece]) -> list[list[PlacedPiece]]:
    """Consecutive pieces that go to one file of kept/."""
    total = sum(piece.length for piece in pieces)
    target = min(FILE_BYTES, max(LEAST_FILE_BYTES, total // FEWEST_FILES))
    return list(grouped(pieces, lambda piece: piece.length, target))


def _added(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, tables.EMITTED_TYPES[name]) for name in names])


@dataclass(frozen=True)
class CopyFiles:
    """The worker's side: a row of ``file``, ``pieces``, ``gone`` and maybe ``extra`` → a file, and a row of counts."""

    kind: Literal["parquet", "jsonl"]
    folder: str
    emitted: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.to_pylist():
                yield pa.RecordBatch.from_pylist(
                    [self.copy(task)], pa.schema([("rows", pa.int64()), ("problem", pa.string())])
                )

    def copy(self, task: dict[str, Any]) -> dict[str, Any]:
        gone = np.asarray(task["gone"] or [], np.int64)
        added = _added(self.emitted)
        schema = pa.schema([("order", pa.int64()), *added])
        extra = pa.Table.from_pylist(task["extra"], schema) if self.emitted else None
        shares: list[Share] = []
        dropped: list[np.ndarray] = []
        more: list[pa.Table] = []
        for piece in task["pieces"]:
            base = piece.pop("ordinal") << ROW_BITS
            shares.append(Share(**{**piece, "uri": storage.from_spark(piece["uri"])}))
            low, rows = base + piece["first_row"], piece["rows"]
            dropped.append(gone[(gone >= low) & (gone < low + rows)] - base)
            if extra is not None:
                start = int(np.searchsorted(extra.column("order").to_numpy(), low))
                more.append(extra.slice(start, rows).select(self.emitted))
        copy = copy_parquet if self.kind == "parquet" else copy_json_lines
        out = storage.join(self.folder, f"part-{task['file']:05d}.{self.kind}")
        try:
            rows = copy(shares, dropped, out, more or None)
            if not rows and task["file"] == 0:  # kept/ is there even if it is empty
                if self.kind == "parquet":
                    write_empty_parquet(shares[0].uri, out, added)
                else:
                    storage.write_text(out, "")
            return {"rows": rows, "problem": None}
        except (CopyMismatch, UserError, OSError) as error:
            return {"rows": 0, "problem": str(error)}


def _by_copying(found: Found, output: Output) -> int | None:
    """The number of rows written; None if something cannot be copied as it is."""
    spark = found.prints.sparkSession
    files = files_of(found.pieces)
    plan = [(number, [(piece.ordinal, *astuple(piece)[:5]) for piece in group]) for number, group in enumerate(files)]
    part = "struct<ordinal:bigint,uri:string,start:bigint,length:bigint,first_row:bigint,rows:bigint>"
    tasks = spark.createDataFrame(plan, f"file int, pieces array<{part}>")
    where = spark.createDataFrame(
        [(piece.number, number) for number, group in enumerate(files) for piece in group], f"{PIECE} int, file int"
    )
    # A line a piece: broadcast, so that only numbers of rows are shuffled, to the file they belong to.
    gone = found.gone.join(F.broadcast(where), PIECE).groupBy("file").agg(F.collect_list("order").alias("gone"))
    tasks = tasks.join(gone, "file", "left")
    emitted = tables.emitted_names(found)
    if emitted:
        row = F.struct("order", *emitted)
        rows = (
            tables.emitted(found)
            .join(F.broadcast(where), PIECE)
            .groupBy("file")
            .agg(F.sort_array(F.collect_list(row)).alias("extra"))
        )
        tasks = tasks.join(rows, "file", "left")
    kind: Literal["parquet", "jsonl"] = "parquet" if found.source.format == "parquet" else "jsonl"
    work = CopyFiles(kind, output.part("kept"), tuple(emitted))
    done = tasks.repartitionByRange(len(files), "file").mapInArrow(work, "rows bigint, problem string").collect()
    problems = [one["problem"] for one in done if one["problem"]]
    if problems:
        log.warning("kept/ is written by Spark, because %s", problems[0])
        storage.delete(output.part("kept"))
        return None
    return sum(one["rows"] for one in done)


def _empty(found: Found, output: Output) -> int | None:
    """No rows, with the schema and metadata of the input's one file; None if it is not one, or cannot be read here."""
    files = found.source.frame.inputFiles()
    if len(files) != 1:
        return None
    try:
        extra = _added(tables.emitted_names(found))
        write_empty_parquet(storage.from_spark(files[0]), output.part("kept", "part-00000.parquet"), extra)
    except (CopyMismatch, UserError, OSError) as error:
        log.info("kept/ is written by Spark: %s", error)
        return None
    return 0


def _by_spark(found: Found, output: Output, kind: str) -> int:
    spark = found.prints.sparkSession
    rows = _in_order(found)
    with picture_settings(spark):
        writer = rows.write.mode("overwrite")
        if kind == "parquet":
            writer.parquet(output.part("kept"))
        else:
            writer.option("ignoreNullFields", "false").json(output.part("kept"))
    back = spark.read.schema(rows.schema).format("parquet" if kind == "parquet" else "json").load(output.part("kept"))
    return back.count()


def _in_order(found: Found) -> DataFrame:
    """The kept rows such that Spark writes them in input order."""
    source = found.source
    if source.format == "images":
        # Paths alone: a sort of them is cheap, and the pictures stay where they are.
        row_id = F.col(ID).alias("id")
        stay = found.prints.select("order", "id").join(found.gone.select("order"), "order", "left_anti")
        return source.frame.select("path", row_id).join(stay, "id").orderBy("order").select("path")
    if source.read_as is None or len(found.pieces) < 2:
        return tables.kept(found)
    runs = runs_of_files(found.pieces)
    if len(runs) > MAX_SCANS:
        log.warning("kept/ is not in input order: the files' sizes go up and down too often for Spark to keep it")
        return tables.kept(found)
    scans = [scan(source, run[0].input, [piece.uri for piece in run]) for run in runs]
    return reduce(DataFrame.unionByName, [tables.kept(found, scan) for scan in scans])
