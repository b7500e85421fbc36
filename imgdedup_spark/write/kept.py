"""Writing ``kept/``: the rows that stay, exactly as they were, in input order, and no picture in a shuffle.

Rows that stay in files of their kind are copied share by share (``copying``): faster than through Spark, and true to
what Spark does not model (a file's own metadata, the spelling of a JSON number). Everything else is written by Spark.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from imgdedup_spark.errors import CopyMismatch, JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet import write_empty_parquet
from imgdedup_spark.files.shares import Share, grouped
from imgdedup_spark.keep.found import Found
from imgdedup_spark.read.columns import col
from imgdedup_spark.read.source import ORDER, Source
from imgdedup_spark.spark.catalog import VERSIONED
from imgdedup_spark.spark.local import from_driver
from imgdedup_spark.spark.settings import picture_settings
from imgdedup_spark.spark.workspace import CUT_ROWS
from imgdedup_spark.spark.written import read_back
from imgdedup_spark.write import small, tables
from imgdedup_spark.write.catalog import check_movable, kept_kind, write_folder, write_table
from imgdedup_spark.write.copying import ENDINGS, CopyFiles, added_fields, copied
from imgdedup_spark.write.output import Output
from imgdedup_spark.write.parts import NAMES

log = logging.getLogger("imgdedup")
#: A file of kept/ holds the kept rows of about this many bytes of input: large enough for any reader, …
FILE_BYTES = 128 << 20
#: … and less where there is little, so that all cores have something to write.
LEAST_FILE_BYTES, FEWEST_FILES = 16 << 20, 8
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
        storage.write_text(output.part("kept", f"part-00000.{ENDINGS.get(kind, kind)}"), "")
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
    done = copied(found, groups, (), CopyFiles("webdataset", output.part("kept"), (), names=tuple(names)))
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


def _by_copying(found: Found, output: Output, kind: str, shares: Sequence[tuple[int, Share]]) -> int | None:
    """The number of rows written; None if something cannot be copied as it is."""
    emitted = found.kind.emitted if found.config.emit_hashes else ()
    target = min(FILE_BYTES, max(LEAST_FILE_BYTES, sum(share.length for _, share in shares) // FEWEST_FILES))
    files = list(grouped(shares, lambda one: one[1].length, target))
    written = 0
    if files:
        work = CopyFiles(kind, output.part("kept"), emitted, found.source.united, found.source.keys)
        done = copied(found, files, emitted, work)
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


def _empty(found: Found, output: Output, emitted: Sequence[str]) -> int | None:
    """No rows, with the schema and metadata of the first input file; None if it cannot be read here."""
    source = found.source
    uri = storage.from_spark(source.file_states()[0].uri if source.united else source.frame.inputFiles()[0])
    out = output.part("kept", "part-00000.parquet")
    try:
        write_empty_parquet(uri, out, pa.schema(added_fields(emitted)), source.united)
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
