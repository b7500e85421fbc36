"""Folders of picture files: a row is a file, with what ``metadata.csv`` or ``metadata.jsonl`` beside it say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.json_rows import Columns
from imgdedup_spark.files.listing import Listed, ending_of, is_utf8
from imgdedup_spark.files.metadata import Metadata, is_metadata
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.files.uris import escaped
from imgdedup_spark.kernels.pictures.signatures import begins_a_picture
from imgdedup_spark.read.by_workers import workers_open
from imgdedup_spark.read.columns import col
from imgdedup_spark.read.listing import Listing
from imgdedup_spark.read.numbering import sort_rows
from imgdedup_spark.read.order import prefixes
from imgdedup_spark.read.source import ID, ORDER, PLACE, ROW, FileState, Local, Placed, PlacedTable, Source
from imgdedup_spark.spark.settings import PICTURE_BATCH_ROWS, case_matters, task_bytes
from imgdedup_spark.spark.units import rows_of_units

#: Bytes of pictures in one task: at most what Spark's own readers take, at least what is worth a task.
MOST_BYTES, LEAST_BYTES = 128 << 20, 1 << 20
#: Opening a file costs about as much as reading so many bytes of it.
FILE_COST = 64 << 10
_KEY = "__imgdedup_key"
_PLACE = StructType(
    [StructField("input", IntegerType()), StructField("file", StringType()), StructField("row", LongType())]
)
_SCHEMA = StructType(
    [
        StructField("path", StringType()),
        StructField("image", StructType([StructField("path", StringType())])),
        StructField(PLACE, _PLACE),
        StructField(ID, StringType()),
    ]
)
_PICTURES = """
    jpg jpeg jpe jfif jif pjpeg pjp png apng webp gif bmp dib tif tiff ppm pgm pbm pnm pfm ico icb vda vst tga
    jp2 j2k jpx jpf j2c jpc avif avifs mpo heic heics heif heifs hif jxl psd dds qoi icns cur pcx dcx sgi rgb rgba bw
    ras blp fli flc ftc ftu fit fits gbr im msp pcd pxr xbm xpm
"""
_OTHERS = """
    parquet pq json jsonl ndjson csv tsv txt md html htm xml yaml yml py ipynb zip tar gz bz2 zst 7z pdf mp4 mov avi mp3
    wav npy npz pt pth bin safetensors lock log bak
"""
#: Endings that a folder is searched for. Formats that cannot be decoded here are among them on purpose: such a picture
#: must show up in errors/, not vanish.
ENDINGS = frozenset(_PICTURES.split())
#: Endings that say that a file is something else, whatever its first bytes.
OTHER_ENDINGS = frozenset(_OTHERS.split())


class _Picture(NamedTuple):
    """A row: its input's number, its file's plain URI, name and bytes, its id, and what metadata say of it."""

    input: int
    uri: str
    name: str
    size: int
    id: str
    line: Mapping[str, Any]


@dataclass(frozen=True)
class PictureFolders(Source):
    """Rows of ``path``, what metadata say of it and, to be hashed, ``image``: a struct that names the file, which the
    workers read.

    Attributes:
        listed: states of each input.
        listed_rows: what is known of each row.
        made: the columns that metadata make.
    """

    listed: tuple[FileState, ...] = ()
    listed_rows: Sequence[_Picture] = ()
    made: Columns = Columns({}, {})  # noqa: RUF009 - nothing changes it

    native: ClassVar[str] = "jsonl"
    unique_ids: ClassVar[bool] = True

    def file_states(self) -> list[FileState]:
        return list(self.listed)

    def shown_path(self) -> Column:
        return F.col("path")

    def placed(self, *arguments, **how) -> PlacedPictures:  # type: ignore[no-untyped-def]
        return PlacedPictures(**vars(super().placed(*arguments, **how)))

    def placed_in_driver(
        self, prints: DataFrame, table: pa.Table, counts: Sequence[Any], id_col: str | None, local: Local
    ) -> PlacedTable | None:
        """As ``Source.placed_in_driver``."""
        if id_col is not None:  # of metadata, which may repeat
            return None
        table = sort_rows(table, PLACE)
        return PlacedTable(PlacedPictures(self, local("ordered", table), id_col), table)


class PlacedPictures(Placed):
    """Placed rows of which paths are written, and what metadata say."""

    source: PictureFolders

    def known(self, prints: pa.Table) -> pa.Table | None:
        if self.id_col is not None:  # ids are of metadata
            return None
        rows = self.source.listed_rows
        at = pc.index_in(prints.column("id"), value_set=pa.array([one.id for one in rows]))
        here = [rows[number] for number in at.to_pylist()]
        paths = pa.array([one.uri for one in here], pa.string())
        columns = [paths, *self.source.made.arrays([one.line for one in here])]
        return pa.table(columns, names=list(self.source.columns))

    def kept_in_order(self, gone: DataFrame, count: int, emitted: DataFrame | None = None) -> DataFrame:
        # A sort of them is cheap: the pictures stay where they are.
        stay = self.prints.join(gone, ORDER, "left_anti").select(F.col(ORDER).alias(ROW), F.col("id").alias(_KEY))
        names = [] if emitted is None else [name for name in emitted.columns if name not in ("id", ORDER)]
        if emitted is not None:
            stay = stay.join(emitted.select(F.col(ORDER).alias(ROW), *names), ROW)
        rows = self.source.frame.join(stay, self._key == F.col(_KEY))
        return rows.orderBy(ROW).select(*[col(name) for name in self.source.columns], *names)


def is_picture(file: Listed) -> bool:
    """Whether a file is one by its ending or, where that says nothing, by its first bytes; or tells of some."""
    if is_metadata(file):
        return True
    ending = ending_of(file.name)
    return ending in ENDINGS or (ending not in OTHER_ENDINGS and begins_a_picture(storage.read_head(file.uri)))


def open_folders(spark: SparkSession, listing: Listing) -> PictureFolders:
    """One data set of several inputs.

    Raises:
        UserError: there is no picture, or metadata cannot be read.
    """
    try:
        known = Metadata.read(listing.files, listing.passed)
    except OSError as error:
        raise UserError(f"--input: metadata cannot be read: {first_line(error)}") from None
    made = known.columns(by_case=case_matters(spark))
    heads = prefixes(listing.inputs) if listing.names_clash else [""] * len(listing.inputs)
    rows = [
        _Picture(index, _shown(one.uri), one.name, one.size, _id(one, head), known.lines.get((index, one.name), {}))
        for index, (files, head) in enumerate(zip(listing.files, heads, strict=True))
        for one in files
        if not is_metadata(one)
    ]
    if not rows:
        raise UserError(f"--input {' '.join(listing.inputs)}: holds metadata and no picture")
    known.match({(one.input, one.name) for one in rows})
    total = sum(one.size for one in rows)
    target = task_bytes(spark, total, LEAST_BYTES, MOST_BYTES)
    units = list(grouped(rows, lambda one: one.size + FILE_COST, target))
    schema = StructType([*_SCHEMA.fields, *from_arrow_schema(made.schema).fields])
    frame = rows_of_units(spark, units, _reading(made), schema)
    if not all(workers_open(root.folder) for root in listing.roots):
        frame = _through_spark(frame, [one.uri for one in rows])
    states = tuple(listing.state(index) for index in range(len(listing.inputs)))
    return PictureFolders(
        frame,
        ("path", *made.kinds),
        "images",
        listing.inputs,
        listing.roots,
        listed=states,
        listed_rows=rows,
        made=made,
        known_rows=len(rows),
    )


def _shown(uri: str) -> str:
    """A file as text that finds it: a percent-encoded URL where its name is no UTF-8."""
    return uri if is_utf8(uri) else f"file://{storage.encoded(uri)}"


def _id(file: Listed, head: str) -> str:
    # No name below an input looks like a URL.
    return f"{head}{file.name}#0" if is_utf8(file.name) else f"{_shown(file.uri)}#0"


def _through_spark(frame: DataFrame, uris: Sequence[str]) -> DataFrame:
    """The same with the pictures themselves, from a file system that Spark alone opens."""
    files = frame.sparkSession.read.format("binaryFile").load([escaped(uri) for uri in uris])
    files = files.select(F.regexp_replace("path", "^file:/+", "/").alias("path"), F.col("content").alias("image"))
    # A line a file; what is joined to it is a picture.
    return files.join(F.broadcast(frame.drop("image")), "path")


def _reading(made: Columns) -> Callable[[Sequence[_Picture]], Iterator[pa.RecordBatch]]:
    names = [*_SCHEMA.names, *made.kinds]

    def read(unit: Sequence[_Picture]) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(unit), PICTURE_BATCH_ROWS):
            some = unit[start : start + PICTURE_BATCH_ROWS]
            paths = pa.array([one.uri for one in some])
            place = pa.StructArray.from_arrays(
                [
                    pa.array([one.input for one in some], pa.int32()),
                    pa.array([storage.encoded(one.name) for one in some]),
                    pa.array([0] * len(some), pa.int64()),
                ],
                _PLACE.names,
            )
            image = pa.StructArray.from_arrays([paths], ["path"])
            ids = pa.array([one.id for one in some])
            lines = made.arrays([one.line for one in some])
            yield pa.RecordBatch.from_arrays([paths, image, place, ids, *lines], names)

    return read
