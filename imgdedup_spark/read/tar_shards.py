"""Tar shards in WebDataset's layout: a row is a sample. The workers read headers and texts as they come; a picture is
named by where it lies in its shard, and read there when it is hashed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StringType, StructField, StructType

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.files.tar import Archive
from imgdedup_spark.files.tar_samples import Sample, is_picture, read_samples
from imgdedup_spark.kernels.pictures.forms import SIZE, START
from imgdedup_spark.read.by_workers import FILE_PLACE, file_place, units_of, workers_reach
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.load import of_listing
from imgdedup_spark.read.rows import FILE_COST, LEAST_BYTES
from imgdedup_spark.read.source import BAD, ID, PLACE, FileState
from imgdedup_spark.spark.settings import TASKS_A_CORE, parallelism, partition_bytes, task_bytes
from imgdedup_spark.spark.units import rows_of_units

ENDINGS = frozenset({"tar", "tgz"})
KEY = "__key__"
#: Endings of files that are columns of text.
TEXTS = frozenset({"txt", "text", "caption", "json"})
# Samples at the head of each shard that tell what columns there are.
_LOOK_AT = 16
_BATCH_ROWS = 1024
_IMAGES = pa.list_(
    pa.struct(
        [
            ("path", pa.string()),
            ("bytes", pa.binary()),
            ("name", pa.string()),
            (START, pa.int64()),
            (SIZE, pa.int64()),
        ]
    )
)
#: A shard: its input, plain URI and bytes.
Shard = tuple[int, str, int]


@dataclass(frozen=True)
class TarShards(FileSource):
    """Samples of shards: ``__key__``, ``images``, texts, and the same by ending of the file; of ``json`` each field as
    ``json.field``.

    Attributes:
        units: shards that one task reads.
        fields: of all objects in ``json``.
    """

    units: tuple[tuple[Shard, ...], ...] = ()
    fields: tuple[str, ...] = ()

    native: ClassVar[str] = "webdataset"
    copied: ClassVar[bool] = True
    keyed: ClassVar[bool] = True
    unique_ids: ClassVar[bool] = True

    def file_states(self) -> list[FileState]:
        return list(self.listed)

    def only(self, files: Sequence[FileState]) -> TarShards:
        units = units_of(self.units, files)
        return replace(self, units=units, frame=_frame(self._spark, units, self.columns, self.fields))

    def scan(self, index: int, uris: Any) -> DataFrame:
        return self.only([FileState(index, uri, 0, 0) for uri in uris]).frame

    def shown_path(self) -> Column:
        return F.concat_ws(", ", F.col("images")["name"])


def is_shard(file: Listed) -> bool:
    """Whether a file is one by its ending."""
    return ending_of(file.name) == "tgz" or file.name.lower().endswith((".tar", ".tar.gz"))


def open_shards(spark: SparkSession, listing: Listing) -> TarShards:
    """One data set of several inputs.

    Raises:
        UserError: a shard cannot be read.
    """
    for root in listing.roots:
        if not workers_reach(root.folder):
            raise UserError(f"--input {root.folder}: tar shards are read by the workers, which cannot open this store")
    shards = [(index, one.uri, one.size) for index, files in enumerate(listing.files) for one in files]
    total = sum(size for *_, size in shards)
    target = task_bytes(spark, total, LEAST_BYTES, partition_bytes(spark))
    units = tuple(tuple(some) for some in grouped(shards, lambda one: one[2] + FILE_COST, target))
    endings, fields = _look(spark, shards)
    columns = (KEY, *endings)
    return TarShards(
        **of_listing(listing, []),
        frame=_frame(spark, units, columns, fields),
        columns=columns,
        format="webdataset",
        own_structs=True,
        absolute=True,
        units=units,
        fields=tuple(fields),
    )


def _look(spark: SparkSession, shards: Sequence[Shard]) -> tuple[list[str], list[str]]:
    """Endings of files, and fields of ``json``, at the heads of all shards."""

    def look(unit: Sequence[Shard]) -> Iterator[pa.RecordBatch]:
        endings, fields, problem = dict[str, None](), dict[str, None](), None
        for _, uri, _ in unit:
            try:
                with Archive(uri) as archive:
                    for sample, _ in zip(read_samples(archive, frozenset({"json"})), range(_LOOK_AT), strict=False):
                        endings |= dict.fromkeys(sample.endings)
                        fields |= dict.fromkeys(_object(sample))
            except (OSError, UserError) as error:
                problem = problem or f"{uri} cannot be read: {first_line(error)}"
        yield pa.RecordBatch.from_pydict({"found": [json.dumps([list(endings), list(fields), problem])]})

    count = max(1, -(-len(shards) // (TASKS_A_CORE * parallelism(spark))))
    units = list(grouped(shards, lambda one: 1, count))
    endings, fields = dict[str, None](), dict[str, None]()
    for row in rows_of_units(spark, units, look, StructType([StructField("found", StringType())])).collect():
        some, more, problem = json.loads(row["found"])
        if problem:
            raise UserError(f"--input {problem}")
        endings |= dict.fromkeys(some)
        fields |= dict.fromkeys(more)
    return list(endings), list(fields)


def _object(sample: Sample) -> dict[str, Any]:
    try:
        found = json.loads(sample.texts.get("json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _frame(
    spark: SparkSession, units: Sequence[Sequence[Shard]], columns: Sequence[str], fields: Sequence[str]
) -> DataFrame:
    texts = [one for one in columns if one in TEXTS]
    pictures = [one for one in columns if is_picture(one)]
    known = [(KEY, pa.string()), ("images", _IMAGES), *[(one, _IMAGES) for one in pictures]]
    known += [(one, pa.string()) for one in (*texts, *[f"json.{name}" for name in fields])]
    schema = StructType(
        [
            *from_arrow_schema(pa.schema(known)).fields,
            StructField(ID, StringType()),
            StructField(BAD, StringType()),
            StructField(PLACE, FILE_PLACE),
        ]
    )
    wanted = frozenset(texts)

    def read(unit: Sequence[Shard]) -> Iterator[pa.RecordBatch]:
        for index, uri, size in unit:
            row, name = 0, uri.rpartition("/")[2]
            with Archive(uri) as archive:
                for some in grouped(read_samples(archive, wanted), lambda one: 1, _BATCH_ROWS):
                    parsed = [_object(one) for one in some] if fields else []
                    images = [_images(uri, one) for one in some]
                    arrays = [pa.array([None if one.problem else one.key for one in some], pa.string())]
                    arrays.append(pa.array([[one for _, one in found] for found in images], _IMAGES))
                    arrays += [
                        pa.array([[one for of, one in found if of == ending] for found in images], _IMAGES)
                        for ending in pictures
                    ]
                    arrays += [
                        pa.array([_text(one.texts.get(ending)) for one in some], pa.string()) for ending in texts
                    ]
                    arrays += [pa.array([_plain(one.get(field)) for one in parsed], pa.string()) for field in fields]
                    arrays.append(pa.array([one.key for one in some], pa.string()))
                    arrays.append(pa.array([one.problem and f"{name} {one.problem}" for one in some], pa.string()))
                    arrays.append(file_place(index, uri, 0, size, range(row, row + len(some))))
                    row += len(some)
                    yield pa.RecordBatch.from_arrays(arrays, schema.names)

    return rows_of_units(spark, units, read, schema)


def _images(uri: str, sample: Sample) -> list[tuple[str, dict[str, Any]]]:
    """The pictures of a sample, by name."""
    return [
        (
            ending,
            {
                "path": uri,
                "bytes": sample.whole[ending],
                "name": _text(one.name.encode("utf-8", "surrogateescape")),
                START: one.offset,
                SIZE: one.size,
            },
        )
        for ending, one in sorted(sample.pictures.items())
    ]


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "replace")


def _plain(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else value.encode("utf-8", "replace").decode()
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
