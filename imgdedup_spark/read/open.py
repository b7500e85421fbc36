"""Which kind of source the inputs are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files.listing import Listed, ending_of, is_utf8
from imgdedup_spark.files.metadata import is_metadata
from imgdedup_spark.read import csv_files, folders, json_lines, parquet, path_lists, tar_shards
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.source import Source
from imgdedup_spark.read.tables import open_by_name

log = logging.getLogger("imgdedup")


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        endings: those that say so.
        open: reads such files.
        is_one: whether a file is of the kind, when it is known which kind the input is.
    """

    endings: frozenset[str]
    open: Callable[[SparkSession, Listing], Source]
    is_one: Callable[[Listed], bool]


KINDS = {
    "parquet": Kind(parquet.ENDINGS, parquet.open_parquet, parquet.is_parquet),
    "jsonl": Kind(json_lines.ENDINGS, json_lines.open_json_lines, json_lines.is_json_lines),
    "csv": Kind(csv_files.ENDINGS, csv_files.open_csv, csv_files.is_csv),
    "webdataset": Kind(tar_shards.ENDINGS, tar_shards.open_shards, tar_shards.is_shard),
    "list": Kind(path_lists.ENDINGS, path_lists.open_lists, path_lists.is_list),
    "images": Kind(folders.ENDINGS, folders.open_folders, folders.is_picture),
}


def read_source(
    spark: SparkSession,
    inputs: Sequence[str],
    input_format: str | None,
    *,
    count_hard_links: bool = False,
    strict: bool = False,
) -> Source:
    """Reads several files, folders or globs as one data set, in the order given.

    Args:
        count_hard_links: whether a second name of the same file is a row of its own.
        strict: whether anything passed over is a mistake.

    Raises:
        UserError: an input matches no file, the format cannot be told or is unknown, or columns disagree.
    """
    if input_format is not None and input_format not in KINDS:
        return open_by_name(spark, inputs, input_format)
    listing = Listing.of(spark, inputs, count_hard_links=count_hard_links)
    name = input_format or _kind_of(listing)
    if name != "images":
        # Neither Spark nor pyarrow opens a file of such a name.
        listing = listing.only(lambda one: is_utf8(one.name), "name_not_utf8")
    listing = listing.only(KINDS[name].is_one)
    if not any(listing.files):
        raise UserError(f"--input {' '.join(inputs)}: holds no {name} files; it has {listing.passed or 'nothing'}")
    source = KINDS[name].open(spark, listing)
    if listing.passed.reasons:
        if strict:
            raise UserError(f"--strict: passed over {listing.passed}")
        log.info("passed over: %s", listing.passed)
    return replace(source, passed=listing.passed)


def read_beside(spark: SparkSession, path: str, input_format: str | None) -> Source:
    """A data set beside the input: of the kind that its files tell, else of the input's."""
    try:
        return read_source(spark, [path], None)
    except UserError as error:
        if input_format is not None and "--input-format" in str(error):
            return read_source(spark, [path], input_format)
        raise


def read_input(spark: SparkSession, config: JobConfig, paths: Sequence[str]) -> Source:
    """``read_source`` as the options say that inputs are read."""
    how = {"count_hard_links": config.count_hard_links, "strict": config.strict}
    return read_source(spark, paths, config.input_format, **how)


def places_of(config: JobConfig) -> Iterator[tuple[str, str]]:
    """All that a run may open on a store, each behind its option."""
    if config.input_format in (None, *KINDS):  # else a table may have a name
        yield from (("--input", path) for path in config.input)
    yield from (("--against", path) for path in config.against)
    yield from (("--background-set", path) for path in config.dedup.background_sets)
    yield from (("--allow-store", prefix) for prefix in config.dedup.allow_store)
    single = {"--output": config.output, "--index": config.index, "--image-root": config.dedup.image_root}
    single |= {"--never": config.dedup.never, "--metrics": config.metrics}
    yield from ((option, path) for option, path in single.items() if path)


def _kind_of(listing: Listing) -> str:
    """The kind that the files' endings tell. Beside others, loose ``.json`` and tables are notes, not rows; and
    metadata are of pictures.
    """
    every = [one for files in listing.files for one in files]
    endings = {ending_of(one.name) for one in every}
    here = [name for name, kind in KINDS.items() if endings & kind.endings]
    if "images" in here:
        endings = {ending_of(one.name) for one in every if not is_metadata(one)}
        here = [name for name in here if endings & KINDS[name].endings]
    if len(here) > 1 and endings & KINDS["jsonl"].endings == {"json"}:
        here.remove("jsonl")
    if len(here) > 1 and "csv" in here:
        here.remove("csv")
    if "list" in here and not _names_lists(listing):
        here.remove("list")
    if len(here) == 1:
        return here[0]
    where = f"--input {' '.join(listing.inputs)}"
    if here:
        raise UserError(f"{where}: holds {' and '.join(here)} files; say with --input-format which to read")
    if any(folders.is_picture(one) for files in listing.files for one in files):
        return "images"
    shown = ", ".join(sorted(f".{one}" for one in endings if one)[:5]) or "no ending"
    if not any(listing.files):
        raise UserError(f"{where}: matches no file that can be read; passed over: {listing.passed or 'nothing'}")
    raise UserError(f"{where}: cannot tell the format from {shown}; say it with --input-format")


def _names_lists(listing: Listing) -> bool:
    """Whether every input names lists of paths and no other file: below folders, text files are notes."""
    named = all(root.read != root.folder for root in listing.roots)
    return named and all(path_lists.is_list(one) for files in listing.files for one in files)


def check_output_format(source: Source, output_format: str | None) -> None:
    """Raises:
    UserError: a column has a type that only Arrow knows, and the rows are to be written as something else; or of tar
        shards and something else one is to be written as the other.
    """
    shards = tar_shards.TarShards.native
    if output_format not in (None, source.native) and shards in (output_format, source.native):
        raise UserError(f"--output-format {output_format}: tar shards are written from tar shards, and as such alone")
    lost = [one for one in source.united or () if one.name not in source.columns]
    if lost and output_format not in (None, source.native):
        raise UserError(
            f"--output-format {output_format}: column {lost[0].name} of type {lost[0].type} can only be copied; "
            f"leave the option out, or the column"
        )
