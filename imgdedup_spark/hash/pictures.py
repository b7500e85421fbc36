"""Prints of pictures: what of a source goes to the workers, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, BinaryType, DataType, NullType, StructField, StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.files.access import Carried
from imgdedup_spark.hash.faults import PictureHasher
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.hash.prints import MEASURED, other_columns
from imgdedup_spark.hash.worker import HashPictures
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.read.columns import image_column
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.progress import counters


def hash_pictures(
    source: Source,
    config: DedupConfig,
    hasher: PictureHasher,
    columns: Sequence[str],
    kind: DataType,
    views: Sequence[int] | None = None,
) -> DataFrame:
    """One print for each row of the source (lazy).

    Args:
        hasher: makes ``columns`` of type ``kind`` (strings or binary) of each picture.
        views: hexadecimal digits of each column, if the hasher makes views, too.

    Raises:
        UserError: the image column is missing or of a wrong type.
    """
    image = image_column(source.schema, config)
    assert image is not None
    pictures = source.pictures(image)
    if isinstance(source.schema[image].dataType, NullType):
        pictures = pictures.cast("binary")
    column = source.column_reader(image)
    frame = source.frame.select(*other_columns(source, config), *([] if column else [pictures.alias("image")]))
    if column:
        frame = source.spread(frame)
    isolated = Isolated(hasher, config.image_timeout)
    reader, binary = picture_reader(source, config), kind.typeName() == "binary"
    work = HashPictures(isolated, reader, columns, binary, column, views, counters())
    fields = [one for one in frame.schema.fields if one.name != "image"]
    made = [StructField(name, kind) for name in columns]
    if views is not None:
        made.append(StructField("views", ArrayType(BinaryType())))
    return frame.mapInArrow(Carried(work), StructType([*fields, *made, *MEASURED]))


def picture_reader(source: Source, config: DedupConfig) -> PictureReader:
    """What reads the source's pictures in the workers, under the rules of the options."""
    roots = (config.image_root,) if config.image_root else tuple(root.folder for root in source.roots)
    rules = PathRules(roots, config.image_root is not None, (*config.allow_store, *source.stores))
    return PictureReader(rules, config.max_bytes, own_structs=source.own_structs)
