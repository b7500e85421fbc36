"""Folders of picture files: a row is a file."""

from __future__ import annotations

from functools import reduce
from typing import ClassVar

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.read.listing import Listing, all_files, folder_state
from imgdedup_spark.read.order import prefixes
from imgdedup_spark.read.source import ID, ORDER, PLACE, FileState, Placed, Source

#: Endings that a folder is searched for. Formats that cannot be decoded here are among them on purpose: such a picture
#: must show up in errors/, not vanish.
ENDINGS = frozenset(
    "jpg jpeg jpe jfif png webp gif bmp dib tif tiff ppm pgm pbm pnm ico jp2 j2k jpx avif tga mpo heic heif jxl".split()  # noqa: SIM905
)


class PictureFolders(Source):
    """Rows of ``path`` and, to be hashed, ``image``."""

    native: ClassVar[str] = "jsonl"
    unique_ids: ClassVar[bool] = True

    def file_states(self) -> list[FileState]:
        spark = self.frame.sparkSession
        return [folder_state(spark, index, path) for index, path in enumerate(self.inputs)]

    def shown_path(self) -> Column:
        return F.col("path")

    def placed(self, *arguments, **how) -> PlacedPictures:  # type: ignore[no-untyped-def]
        return PlacedPictures(**vars(super().placed(*arguments, **how)))


class PlacedPictures(Placed):
    """Placed rows of which paths alone are written."""

    def kept_in_order(self, gone: DataFrame, count: int, emitted: DataFrame | None = None) -> DataFrame:
        # Paths alone: a sort of them is cheap, and the pictures stay where they are.
        stay = self.prints.select(ORDER, "id").join(gone, ORDER, "left_anti")
        if emitted is not None:
            stay = stay.join(emitted.drop("id"), ORDER)
        rows = self.source.frame.select("path", F.col(ID).alias("id")).join(stay, "id")
        return rows.orderBy(ORDER).drop("id", ORDER)


def open_folders(spark: SparkSession, listing: Listing) -> PictureFolders:
    """One data set of several inputs.

    Raises:
        UserError: one of them holds no pictures.
    """
    listing, frames = Listing.of(spark, listing.inputs, sorted(ENDINGS)), []
    heads = prefixes(listing.inputs) if listing.names_clash else [""] * len(listing.inputs)
    for index, (path, root, head) in enumerate(zip(listing.inputs, listing.roots, heads, strict=True)):
        # No parts here: a folder may hold as many files as another data set has rows, too many for one list.
        file = F.regexp_replace("path", "^file:/+", "/")
        name = F.substring(file, len(root.folder.rstrip("/")) + 2, 1 << 20)
        place = F.struct(F.lit(index).alias("input"), name.alias("file"), F.lit(0).cast("long").alias("row"))
        frame = all_files(spark, path, sorted(ENDINGS))
        frame = frame.select(file.alias("path"), F.col("content").alias("image"), place.alias(PLACE))
        frames.append(frame.withColumn(ID, F.concat(F.lit(head), F.col(PLACE)["file"], F.lit("#0"))))
    united = reduce(DataFrame.unionByName, frames)
    return PictureFolders(united, ("path",), "images", listing.inputs, listing.roots)
