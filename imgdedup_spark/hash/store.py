"""Hashing once: prints are stored group by group of files, and found again while the files are the same.

A group is written as Parquet and then committed by one small file that names its files with size and modification
time. A run that was killed has lost at most the group it was at; a later run hashes only what is new or changed.
Nothing stored is ever changed, and all of it may be deleted while no run is at work.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imgdedup_spark.errors import JobError
from imgdedup_spark.files import storage
from imgdedup_spark.hash.here import write_here
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.kernels.pictures.values import RULE
from imgdedup_spark.read.columns import image_column, row_terms
from imgdedup_spark.read.source import PLACE, FileState, Source
from imgdedup_spark.spark.written import read_back, write_counted
from imgdedup_spark.versions import versions

#: The folder of the store, in an index or in ``_staging``.
PRINTS = "fingerprints"
#: A file that was hashed: signature of the options, number of the input, URI, size in bytes, time in milliseconds.
File = tuple[str, int, str, int, int]


@dataclass(frozen=True)
class Group:
    """Attributes:
    folder: where its prints lie.
    files: whose they are, but for files that are to be hashed again.
    made: when, in seconds since 1970.
    whole: whether it holds prints of no other files.
    rows: how many prints were written; None where nobody has counted them.
    """

    folder: str
    files: tuple[File, ...]
    made: float = 0.0
    whole: bool = True
    rows: int | None = None

    def read(self, spark: SparkSession, schema: StructType) -> DataFrame:
        """All of its prints."""
        return read_back(spark, schema, self.folder)

    def check(self, rows: int) -> None:
        """``check_rows`` of this group alone."""
        check_rows(self.folder, [self.rows], rows)

    def holds(self, pairs: Mapping[File, File]) -> bool:
        """Whether these are all of its prints, in the places that they had.

        Args:
            pairs: as ``read_as`` takes them.
        """
        same = all(old[1] == new[1] for old, new in pairs.items())
        return self.whole and same and (not pairs or len(pairs) == len(self.files))

    def read_as(self, pairs: dict[File, File], spark: SparkSession, schema: StructType) -> DataFrame:
        """Its prints of some of its files, as those of the inputs that they are now.

        Args:
            pairs: a file as it is stored → as it is now.
        """
        prints = self.read(spark, schema)
        # No join, which every later reading would repeat.
        if self.holds(pairs):
            return prints
        rows = [(old[1], old[2], new[1]) for old, new in pairs.items()]
        table = spark.createDataFrame(rows, "__old int, __file string, __new int")
        place = F.col(PLACE)
        on = (place["input"] == F.col("__old")) & (place["file"] == F.col("__file"))
        # A line a file.
        joined = prints.join(F.broadcast(table), on)
        parts = [place[name].alias(name) for name in ("file", "start", "length", "row")]
        moved = joined.withColumn(PLACE, F.struct(F.col("__new").alias("input"), *parts))
        return moved.select(*schema.fieldNames())


@dataclass(frozen=True)
class PrintStore:
    """The stored prints: ``<group>/*.parquet`` and ``<group>.json``, which is written last."""

    folder: str

    def groups(self) -> list[Group]:
        found = []
        for uri in storage.list_files(self.folder):
            name = uri.rpartition("/")[2]
            if name.endswith(".json") and not name.startswith("."):
                group = json.loads(storage.read_text(uri))
                files = tuple((*one,) for one in group["files"])
                more = group["made"], group.get("whole", True), group.get("rows")
                found.append(Group(uri.removesuffix(".json"), files, *more))
        return found

    def add(
        self,
        frame: DataFrame,
        files: Sequence[File],
        lasting: Callable[[DataFrame, Group], Sequence[File]],
        here: pa.Table | None = None,
    ) -> Group:
        """Writes and commits a group.

        Args:
            lasting: of which files of the group the prints, which it gets to see, hold for later runs too.
            here: the frame's rows, if the driver has them, and Spark finds what it writes.
        """
        folder, made = storage.join(self.folder, uuid.uuid4().hex), time.time()
        rows = write_counted(frame, folder) if here is None else write_here(here, folder)
        group = Group(folder, tuple(files), made, rows=rows)
        known = tuple(lasting(group.read(frame.sparkSession, frame.schema), group))
        group = replace(group, files=known, whole=len(known) == len(files))
        content = {"files": known, "made": made, "whole": group.whole, "rows": rows}
        storage.write_text(folder + ".json", json.dumps(content) + "\n")
        return group

    def sweep(self, groups: Sequence[Group], used: Collection[str]) -> None:
        """Deletes old groups of which every file has been hashed again since.

        Args:
            groups: all that there are.
            used: folders of those that stay.
        """
        newest: dict[tuple[str, str], float] = {}
        for group in groups:
            for file in group.files:
                newest[file[0], file[2]] = max(group.made, newest.get((file[0], file[2]), 0.0))
        # Another run may be reading a group that has just been replaced.
        before = time.time() - storage.LEFT_ALONE_SECONDS
        for group in groups:
            replaced = all(newest[file[0], file[2]] > group.made for file in group.files)
            if replaced and group.made < before and group.folder not in used:
                storage.delete(group.folder + ".json")
                storage.delete(group.folder)


def check_rows(folder: str, written: Sequence[int | None], found: int) -> None:
    """Looks whether all prints of some groups were read, as far as they were counted when they were written.

    Raises:
        JobError: they were not: a file system that lists late would lose rows.
    """
    counted = [rows for rows in written if rows is not None]
    if len(counted) == len(written) and sum(counted) != found:
        raise JobError(
            f"{folder}: {sum(counted):,} prints were written there and {found:,} are found; does the file system show "
            "new files late? Run it again"
        )


def find_files(
    groups: Sequence[Group], files: Sequence[File]
) -> tuple[list[tuple[Group, dict[File, File]]], list[File]]:
    """Which stored files are which of these, by group; and which are not stored."""
    stored: dict[tuple[object, ...], tuple[int, File]] = {}
    for place, group in enumerate(groups):
        for file in group.files:
            stored.setdefault((file[0], *file[2:]), (place, file))
    pairs: dict[int, dict[File, File]] = {}
    missing = []
    for file in files:
        place, old = stored.get((file[0], *file[2:]), (-1, file))
        # A file that is given twice is hashed twice: two rows of the store cannot be told from one.
        if place < 0 or old in pairs.get(place, {}):
            missing.append(file)
        else:
            pairs.setdefault(place, {})[old] = file
    return [(groups[place], found) for place, found in pairs.items()], missing


def stored_file(state: FileState, source: Source, prints: Prints, rest: str | None) -> File:
    """A file with the signature of everything else that its prints depend on.

    Args:
        rest: names the rows of the source that are looked at; None for all.
    """
    config, schema = prints.config, source.schema
    image = image_column(schema, config)
    names = [image, config.id_col, config.text_col, config.hash_col, config.embedding_col, *row_terms(config)]
    content = {
        "columns": [(name, schema[name].dataType.json()) for name in names if name],
        "text": config.text_normalize,
        "specs": prints.signature(),
        "decode": config.decode,
        "most": [config.max_pixels, config.max_bytes],
        "reading": [RULE, *dataclasses.astuple(config.reading)],
        "versions": versions(models=prints.uses_models),
        "format": source.format,
        # Relative paths start there; and what else rows may name.
        "root": [config.image_root, source.roots[state.input].folder, *config.allow_store],
        # Where rows' names are made while reading, those of one input depend on what the other inputs are.
        "inputs": () if source.divisible else source.inputs,
        "rest": rest,
    }
    signature = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return (signature, state.input, state.uri, state.size, state.time)
