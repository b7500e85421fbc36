"""Writing ``kept/``: the rows that stay, exactly as they were, in input order, and no picture in a shuffle.

Rows that stay in files of their kind are copied by the workers, share by share: faster than through Spark, and true to
what Spark does not model (a file's own metadata, the spelling of a JSON number). Everything else is written by Spark.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructField, StructType

from imgdedup_spark.errors import CopyMismatch, JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.access import Carried
from imgdedup_spark.files.json_lines import copy_json_lines
from imgdedup_spark.files.parquet import copy_parquet, write_empty_parquet
from imgdedup_spark.files.shares import Share, grouped
from imgdedup_spark.files.tar_samples import copy_tar
from imgdedup_spark.files.text_lines import copy_lines, ended, lines_of
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.columns import col
from imgdedup_spark.read.order import ROW_BITS
from imgdedup_spark.read.source import ORDER, Source
from imgdedup_spark.spark.catalog import VERSIONED
from imgdedup_spark.spark.local import from_driver
from imgdedup_spark.spark.settings import picture_settings
from imgdedup_spark.spark.units import rows_of_units
from imgdedup_spark.spark.workspace import CUT_ROWS
from imgdedup_spark.spark.written import read_back
from imgdedup_spark.write import small, tables
from imgdedup_spark.write.catalog import check_movable, kept_kind, write_folder, write_table
from imgdedup_spark.write.output import Output
from imgdedup_spark.write.parts import NAMES

log = logging.getLogger("imgdedup")
#: A file of kept/ holds the kept rows of about this many bytes of input: large enough for any reader, …
FILE_BYTES = 128 << 20
#: … and less where there is little, so that all cores have something to write.
LEAST_FILE_BYTES, FEWEST_FILES = 16 << 20, 8
# Of files that are not called as their kind.
_ENDINGS = {"list": "txt"}
_BY_WORKERS = "the workers write it, and cannot open the output's file system"


def write_kept(found: Found, output: Output, output_format: str | None, table: str | None = None) -> None:
    """Writes ``kept/``; without a row it holds a file without rows.

    Args:
        output_format: as the option has it; None for the input's.
        table: the name of the table that the rows go to, if they go to one.

    Raises:
        JobError: another number of rows came out; the input changed under the job.
    """
    kind = kept_kind(found.source, output_format)
    check_movable(kind, output)
    if kind == "webdataset":
        write_shards(found, output)
        return
    shares = found.placed.shares(kind)
    written = None
    if shares is not None and _workers_can_copy(shares, output.folder):
        written = _by_copying(found, output, kind, shares)
    if written is None and kind == "list":
        raise JobError(f"kept/ cannot be written as a list: {_BY_WORKERS}; say --output-format jsonl")
    if written is None and found.source.columns:
        written = _by_spark(found, output, kind, table)
    if not written and kind in ("jsonl", "list"):
        storage.write_text(output.part("kept", f"part-00000.{_ENDINGS.get(kind, kind)}"), "")
    _check_count(written or 0, found)


def _workers_can_copy(shares: Sequence[tuple[int, Share]], folder: str) -> bool:
    try:
        for _, share in shares[:1]:
            storage.check_workers(share.uri)
        storage.check_workers(folder)
    except UserError as error:
        log.info("kept/ is written by Spark: %s", error)
        return False
    return True


@dataclass(frozen=True)
class CopyFiles:
    """The worker's side: a row of ``file``, ``shares``, ``gone`` and maybe ``extra`` → a file, and a row of counts."""

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
            schema = pa.schema([("order", pa.int64()), *_fields(self.emitted)])
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
            self.folder, self.names[number] if self.names else f"part-{number:05d}.{_ENDINGS.get(self.kind, self.kind)}"
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


def write_shards(found: Found, output: Output) -> None:
    """Writes ``kept/`` as tar shards of the input's names, those without a sample too.

    Raises:
        JobError: a shard cannot be copied; the input changed under the job.
    """
    shares = {(share.uri): (number, share) for number, share in found.placed.shares("webdataset") or ()}
    files = [storage.from_spark(one.uri) for one in found.source.states]
    names = shard_names(found.source)
    storage.write_text(output.part("kept", NAMES), json.dumps(sorted(names)) + "\n")
    last = max((number for number, _ in shares.values()), default=-1)
    groups = [[shares.get(uri, (last + 1 + place, Share(uri, 0, 0)))] for place, uri in enumerate(files)]
    done = _copied(found, groups, (), CopyFiles("webdataset", output.part("kept"), (), names=tuple(names)))
    problems = [one["problem"] for one in done if one["problem"]]
    if problems:
        raise JobError(f"kept/ cannot be written: {problems[0]}")
    _check_count(sum(one["rows"] for one in done), found)


def _check_count(written: int, found: Found) -> None:
    if written != found.kept_count:
        raise JobError(
            f"kept/ has {written} rows and should have {found.kept_count}: did the input change during the run?"
        )


def shard_names(source: Source) -> list[str]:
    """A name below ``kept/`` for each of the files; where two inputs have the same, below a folder of the input's
    number."""
    files = [(one.input, storage.absolute(storage.from_spark(one.uri))) for one in source.states]
    short = [uri.removeprefix(source.roots[number].folder.rstrip("/") + "/") for number, uri in files]
    if len(set(short)) == len(short):
        return short
    return [f"{number}/{name}" for (number, _), name in zip(files, short, strict=True)]


def _fields(emitted: Sequence[str]) -> list[tuple[str, pa.DataType]]:
    return [(name, tables.EMITTED_TYPES[name]) for name in emitted]


def _by_copying(found: Found, output: Output, kind: str, shares: Sequence[tuple[int, Share]]) -> int | None:
    """The number of rows written; None if something cannot be copied as it is."""
    emitted = found.kind.emitted if found.config.emit_hashes else ()
    target = min(FILE_BYTES, max(LEAST_FILE_BYTES, sum(share.length for _, share in shares) // FEWEST_FILES))
    files = list(grouped(shares, lambda one: one[1].length, target))
    written = 0
    if files:
        work = CopyFiles(kind, output.part("kept"), emitted, found.source.united, found.source.keys)
        done = _copied(found, files, emitted, work)
        problems = [one["problem"] for one in done if one["problem"]]
        if problems and (found.source.united or kind == "list"):
            raise JobError(f"kept/ cannot be written: {problems[0]}")
        if problems:
            log.warning("kept/ is written by Spark, because %s", problems[0])
            storage.delete(output.part("kept"))
            return None
        written = sum(one["rows"] for one in done)
    if not written and kind == "parquet":
        return _empty(found, output, emitted)
    return written


def _copied(
    found: Found, files: Sequence[Sequence[tuple[int, Share]]], emitted: Sequence[str], work: CopyFiles
) -> list[Row]:
    """What the tasks say, one for each file."""
    spark = found.prints.sparkSession
    plan = [(file, [{"ordinal": n, **asdict(share)} for n, share in group]) for file, group in enumerate(files)]
    if found.at_once is not None and not emitted:
        gone = small.gone(found.at_once, found.config.on_error)
        units = [{"file": file, "shares": shares, "gone": _within(gone, shares)} for file, shares in plan]
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


def _empty(found: Found, output: Output, emitted: Sequence[str]) -> int | None:
    """No rows, with the schema and metadata of the first input file; None if it cannot be read here."""
    source = found.source
    uri = storage.from_spark(source.file_states()[0].uri if source.united else source.frame.inputFiles()[0])
    out = output.part("kept", "part-00000.parquet")
    try:
        write_empty_parquet(uri, out, pa.schema(_fields(emitted)), source.united)
    except (CopyMismatch, UserError, OSError) as error:
        log.info("kept/ is written by Spark: %s", error)
        return None
    return 0


def _by_spark(found: Found, output: Output, kind: str, table: str | None) -> int:
    spark = found.prints.sparkSession
    rows = _known(found)
    if rows is None:
        emitted = tables.emitted(found) if found.config.emit_hashes else None
        rows = found.placed.kept_in_order(found.gone, found.dropped_count, emitted)
    with picture_settings(spark):
        if kind in VERSIONED:
            return write_folder(rows, output, kind)
        if table is not None:
            return write_table(rows, output, table)
        writer = rows.write.mode("overwrite")
        if kind == "parquet":
            writer.parquet(output.part("kept"))
        else:
            writer.option("ignoreNullFields", "false").json(output.part("kept"))
    back = "parquet" if kind == "parquet" else "json"
    return read_back(spark, rows.schema, output.part("kept"), kind=back).count()


def _known(found: Found) -> DataFrame | None:
    """The rows that stay, where they are few and the driver knows them: no task has to read, join and sort them."""
    if found.at_once is None or found.kept_count > CUT_ROWS or found.config.emit_hashes:
        return None
    gone = pa.array(small.gone(found.at_once, found.config.on_error), pa.int64())
    prints = found.at_once.prints.select(["id", ORDER])
    stay = prints.filter(pc.invert(pc.is_in(prints.column(ORDER), value_set=gone)))
    rows = found.placed.known(stay.sort_by(ORDER))
    if rows is None:
        return None
    schema = found.source.frame.select(*map(col, found.source.columns)).schema
    return from_driver(found.prints.sparkSession, rows, schema).coalesce(1)
