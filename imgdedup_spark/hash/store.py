"""Hashing once: fingerprints are stored group by group of files, and found again while the files are the same.

A group is written as Parquet and then committed by one small file that names its files with size and modification
time. A run that was killed has lost at most the group it was at; a later run hashes only what is new or changed.
Nothing stored is ever changed, and all of it may be deleted while no run is at work.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.files import storage
from imgdedup_spark.hash.fingerprints import fingerprint
from imgdedup_spark.hash.listing import File, Rest, list_source_files, signature_of_pictures
from imgdedup_spark.hash.prints import key_parts
from imgdedup_spark.hash.remembered import Memory, can_remember, nothing, recall, worth_knowing
from imgdedup_spark.read.source import PLACE, Source, scan
from imgdedup_spark.spark.settings import parallelism

log = logging.getLogger("imgdedup")


#: The folder of the store, in an index or in ``_staging``.
PRINTS = "fingerprints"


#: A group is about so many splits for each core: seldom enough that cores wait for the last split of a group, and
#: often enough that a killed run loses little (2 GB a core, some minutes).
WAVES = 16


@dataclass(frozen=True)
class Group:
    """Attributes:
    folder: where its fingerprints lie.
    files: whose they are.
    made: when, in seconds since 1970.
    pictures: signature of what a picture's hash depends on, if digests of pictures are among the fingerprints.
    rows: how many fingerprints, if so.
    """

    folder: str
    files: tuple[File, ...]
    made: float = 0.0
    pictures: str = ""
    rows: int = 0


@dataclass(frozen=True)
class PrintStore:
    """The stored fingerprints: ``<group>/*.parquet`` and ``<group>.json``, which is written last.

    Attributes:
        remembers: whether pictures are to be found again by their bytes, too (see ``remembered``).
    """

    folder: str
    remembers: bool = False

    def groups(self) -> list[Group]:
        found = []
        for uri in storage.list_files(self.folder):
            name = uri.rpartition("/")[2]
            if name.endswith(".json") and not name.startswith("."):
                group = json.loads(storage.read_text(uri))
                files = tuple((*one,) for one in group.pop("files"))
                found.append(Group(uri.removesuffix(".json"), files, **group))
        return found

    def add(self, frame: DataFrame, files: Sequence[File], pictures: str = "") -> tuple[Group, int]:
        """The group, and how many of its pictures were known."""
        folder = storage.join(self.folder, uuid.uuid4().hex)
        frame.write.mode("overwrite").parquet(folder)
        rows = known = 0
        if pictures:
            written = _read(frame.sparkSession, folder, frame.schema)
            counts = written.agg(F.count("digest").alias("rows"), F.sum("known").alias("known")).collect()[0]
            rows, known = counts["rows"], counts["known"] or 0
        group = Group(folder, tuple(files), time.time(), pictures, rows)
        content = {name: value for name, value in asdict(group).items() if name != "folder"}
        storage.write_text(folder + ".json", json.dumps(content) + "\n")
        return group, known

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


def hash_rows(
    source: Source,
    config: DedupConfig,
    store: PrintStore,
    stage: Callable[[str, DataFrame], DataFrame],
    rest: Rest | None = None,
) -> tuple[DataFrame, dict[str, Any]]:
    """The fingerprints of all rows (see ``fingerprints``), read back from the store; and, for the log, how many
    files needed no hashing, and how many pictures of the others.

    Args:
        stage: freezes a DataFrame of whose files nothing is known.
        rest: only these rows; None for all.

    Raises:
        UserError: the image column is missing or of a wrong type.
    """
    spark = source.frame.sparkSession
    left = rest.of if rest else lambda whole: whole
    plain = fingerprint(left(source), config)
    files = list_source_files(source, config, rest)
    if not files:
        return stage("fingerprints", plain), {}
    groups = store.groups()
    if source.in_pieces and source.read_as:
        found, missing = _find(groups, files)
        frames = [_again(spark, group, pairs, plain.schema) for group, pairs in found]
        parts = _split(spark, missing)
    else:
        same = [group for group in groups if group.files == tuple(files)][:1]
        found, missing = [(group, {}) for group in same], [] if same else files
        frames = [_read(spark, group.folder, plain.schema) for group in same]
        parts = [] if same else [files]
    memory, pictures = None, ""
    if parts and store.remembers and _remembers(config):
        pictures = signature_of_pictures(config)
        memory = _recall(spark, groups, config, pictures, worth_knowing(config.specs, sum(file[3] for file in missing)))
    images_reused = 0
    for some in parts:
        part = source if len(some) == len(files) else _only(source, some)
        group, known = store.add(fingerprint(left(part), config, memory), some, pictures)
        images_reused += known
        groups.append(group)
        frames.append(_read(spark, group.folder, plain.schema))
    store.sweep(groups, {group.folder for group, _ in found})
    reused = {"files_reused": len(files) - len(missing), "images_reused": images_reused}
    return reduce(DataFrame.unionByName, frames), {name: count for name, count in reused.items() if count}


def _only(source: Source, files: Sequence[File]) -> Source:
    """The rows of some of the source's files."""
    numbers = sorted({file[1] for file in files})
    scans = [scan(source, number, [file[2] for file in files if file[1] == number]) for number in numbers]
    return replace(source, frame=reduce(DataFrame.unionByName, scans))


def _recall(spark: SparkSession, groups: Sequence[Group], config: DedupConfig, pictures: str, room: int) -> Memory:
    """The pictures that were hashed last, as many as there is ``room`` for."""
    names = key_parts(config)
    schema = f"digest binary, width int, height int, {', '.join(f'{name} string' for name in names)}"
    frames: list[DataFrame] = []
    for group in sorted(groups, key=lambda group: -group.made):
        if group.pictures == pictures and group.rows and room > 0:
            prints = spark.read.schema(schema).parquet(group.folder).where("digest is not null")
            frames.append(prints if group.rows <= room else prints.limit(room))
            room -= group.rows
    return recall(reduce(DataFrame.unionByName, frames), names) if frames else nothing()


def _read(spark: SparkSession, folder: str, schema: StructType) -> DataFrame:
    return spark.read.schema(schema).parquet(folder)


def _find(groups: Sequence[Group], files: Sequence[File]) -> tuple[list[tuple[Group, dict[File, File]]], list[File]]:
    """Which stored files are which of these, by group; and which are not stored."""
    stored: dict[tuple[Any, ...], tuple[int, File]] = {}
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


def _again(spark: SparkSession, group: Group, pairs: dict[File, File], schema: StructType) -> DataFrame:
    """A group's fingerprints of some of its files, as those of the inputs that they are now."""
    prints = _read(spark, group.folder, schema)
    # All of them, in the places that they had: no join, which every later reading would repeat.
    if len(pairs) == len(group.files) and all(old[1] == new[1] for old, new in pairs.items()):
        return prints
    rows = [(old[1], old[2], new[1]) for old, new in pairs.items()]
    table = spark.createDataFrame(rows, "__old int, __file string, __new int")
    place = F.col(PLACE)
    on = (place["input"] == F.col("__old")) & (place["file"] == F.col("__file"))
    # A line a file.
    joined = prints.join(F.broadcast(table), on)
    parts = [place[name].alias(name) for name in ("file", "start", "length", "row")]
    return joined.withColumn(PLACE, F.struct(F.col("__new").alias("input"), *parts)).select(*schema.fieldNames())


def _split(spark: SparkSession, files: Sequence[File]) -> list[list[File]]:
    """Consecutive files in groups of bounded size."""
    most = WAVES * _bytes(str(spark.conf.get("spark.sql.files.maxPartitionBytes", "128m")))
    if sum(file[3] for file in files) > most:
        most *= parallelism(spark)
    groups: list[list[File]] = []
    room = 0
    for file in files:
        if not groups or file[3] > room:
            groups.append([])
            room = most
        groups[-1].append(file)
        room -= file[3]
    return groups


def _bytes(setting: str) -> int:
    """A size as Spark writes it: ``134217728``, ``134217728b``, ``128m``, ``128MB``."""
    text = setting.strip().lower().removesuffix("b")
    power = "kmgt".find(text[-1:]) + 1 if text[-1:] else 0
    return int(text[:-1]) << (10 * power) if power else int(text)


def _remembers(config: DedupConfig) -> bool:
    return not config.hash_col and not config.is_embedding and can_remember(config.specs)
