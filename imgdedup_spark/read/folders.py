"""Folders of picture files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imgdedup_spark.errors import UserError
from imgdedup_spark.read.source import ID, PLACE, Root, Source, plain_path, prefixes, root_of

#: Endings that a folder of images is searched for. Formats that cannot be decoded here are among them on
#: purpose: such a picture must show up in errors/, not vanish.
IMAGE_ENDINGS = frozenset(
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "gif",
        "bmp",
        "dib",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "ico",
        "jp2",
        "j2k",
        "jpx",
        "avif",
        "tga",
        "mpo",
        "heic",
        "heif",
        "jxl",
    ]
)


def read_images(spark: SparkSession, inputs: Sequence[str]) -> Source:
    listings = []
    anycase = ["".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in one) for one in sorted(IMAGE_ENDINGS)]
    pattern = "*.{" + ",".join(anycase) + "}"
    frames, roots = [], []
    for index, path in enumerate(inputs):
        reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", pattern)
        frame = reader.load(path)
        files = frame.inputFiles()
        if not files:
            raise UserError(f"--input {path}: holds no image files (looked for .{', .'.join(sorted(IMAGE_ENDINGS))})")
        roots.append(root_of(path, files[0]))
        listings.append(files)
        # No pieces here: a folder may hold as many files as another data set has rows, too many for one list.
        path_here = F.regexp_replace("path", "^file:/+", "/")
        name = F.substring(path_here, len(roots[-1].folder.rstrip("/")) + 2, 1 << 20)
        place = F.struct(F.lit(index).alias("input"), name.alias("file"), F.lit(0).cast("long").alias("row"))
        frames.append(frame.select(path_here.alias("path"), F.col("content").alias("image"), place.alias(PLACE)))
    heads = prefixes(inputs) if _clash(listings, roots) else [""] * len(inputs)
    named = [
        frame.withColumn(ID, F.concat(F.lit(head), F.col(PLACE)["file"], F.lit("#0")))
        for frame, head in zip(frames, heads, strict=True)
    ]
    frame = reduce(DataFrame.unionByName, named)
    return Source(frame, ("path",), "images", tuple(inputs), tuple(roots), numbered=True)


def _clash(listings: Sequence[Sequence[str]], roots: Sequence[Root]) -> bool:
    """Whether two inputs have files of the same name."""
    if len(listings) == 1:
        return False
    names = [
        {plain_path(uri)[len(root.folder) :] for uri in files} for files, root in zip(listings, roots, strict=True)
    ]
    return len(set().union(*names)) < sum(map(len, names))
