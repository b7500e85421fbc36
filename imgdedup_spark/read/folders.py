"""Folders of picture files: a row is a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.listing import Listed, ending_of
from imgdedup_spark.files.shares import grouped
from imgdedup_spark.kernels.pictures.signatures import begins_a_picture
from imgdedup_spark.read.listing import Listing, escaped
from imgdedup_spark.read.numbering import sort_rows
from imgdedup_spark.read.order import prefixes
from imgdedup_spark.read.source import ID, ORDER, PLACE, FileState, Local, Placed, PlacedTable, Source
from imgdedup_spark.spark.settings import PICTURE_BATCH_ROWS, parallelism
from imgdedup_spark.spark.units import rows_of_units

#: Bytes of pictures in one task: at most what Spark's own readers take, at least what is worth a task, and so that
#: every core has several.
MOST_BYTES, LEAST_BYTES, TASKS_A_CORE = 128 << 20, 1 << 20, 4
#: Opening a file costs about as much as reading so many bytes of it.
FILE_COST = 64 << 10
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


@dataclass(frozen=True)
class PictureFolders(Source):
    """Rows of ``path`` and, to be hashed, ``image``: a struct that names the file, which the workers read.

    Attributes:
        listed: states of each input.
    """

    listed: tuple[FileState, ...] = ()

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
    ) -> PlacedTable:
        """As ``Source.placed_in_driver``."""
        table = sort_rows(table, PLACE)
        return PlacedTable(PlacedPictures(self, local("ordered", table), id_col), table)


class PlacedPictures(Placed):
    """Placed rows of which paths alone are written."""

    def kept_in_order(self, gone: DataFrame, count: int, emitted: DataFrame | None = None) -> DataFrame:
        # Paths alone: a sort of them is cheap, and the pictures stay where they are.
        stay = self.prints.select(ORDER, "id").join(gone, ORDER, "left_anti")
        if emitted is not None:
            stay = stay.join(emitted.drop("id"), ORDER)
        rows = self.source.frame.select("path", F.col(ID).alias("id")).join(stay, "id")
        return rows.orderBy(ORDER).drop("id", ORDER)


def is_picture(file: Listed) -> bool:
    """Whether a file is one by its ending or, where that says nothing, by its first bytes."""
    ending = ending_of(file.name)
    return ending in ENDINGS or (ending not in OTHER_ENDINGS and begins_a_picture(storage.read_head(file.uri)))


def open_folders(spark: SparkSession, listing: Listing) -> PictureFolders:
    """One data set of several inputs."""
    heads = prefixes(listing.inputs) if listing.names_clash else [""] * len(listing.inputs)
    rows = [
        (index, one.uri, one.name, head + one.name + "#0", one.size)
        for index, (files, head) in enumerate(zip(listing.files, heads, strict=True))
        for one in files
    ]
    total = sum(row[4] for row in rows)
    target = min(MOST_BYTES, max(LEAST_BYTES, total // (TASKS_A_CORE * parallelism(spark))))
    units = [tuple(zip(*some, strict=True)) for some in grouped(rows, lambda row: row[4] + FILE_COST, target)]
    states = tuple(listing.state(index) for index in range(len(listing.inputs)))
    try:
        for root in listing.roots:
            storage.check_workers(root.folder)
        frame = rows_of_units(spark, units, _rows, _SCHEMA)
    except UserError:
        frame = _through_spark(spark, rows)
    return PictureFolders(frame, ("path",), "images", listing.inputs, listing.roots, listed=states)


def _through_spark(spark: SparkSession, rows: Sequence[tuple[int, str, str, str, int]]) -> DataFrame:
    """The same with the pictures themselves, from a file system that Spark alone opens."""
    schema = f"{PLACE} struct<input: int, file: string, row: bigint>, path string, {ID} string"
    known = spark.createDataFrame([((row[0], row[2], 0), row[1], row[3]) for row in rows], schema)
    files = spark.read.format("binaryFile").load([escaped(row[1]) for row in rows])
    # A line a file; what is joined to it is a picture.
    joined = files.withColumn("path", F.regexp_replace("path", "^file:/+", "/")).join(F.broadcast(known), "path")
    return joined.select("path", F.col("content").alias("image"), PLACE, ID)


def _rows(unit: tuple[Any, ...]) -> Iterator[pa.RecordBatch]:
    inputs, uris, names, ids, _ = unit
    place = pa.StructArray.from_arrays(
        [pa.array(inputs, pa.int32()), pa.array(names), pa.array([0] * len(names), pa.int64())],
        ["input", "file", "row"],
    )
    paths = pa.array(uris)
    image = pa.StructArray.from_arrays([paths], ["path"])
    whole = pa.RecordBatch.from_arrays([paths, image, place, pa.array(ids)], ["path", "image", PLACE, ID])
    for start in range(0, len(uris), PICTURE_BATCH_ROWS):
        yield whole.slice(start, PICTURE_BATCH_ROWS)
