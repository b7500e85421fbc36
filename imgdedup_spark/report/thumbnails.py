"""Thumbnails of a few rows: the only pictures that are read a second time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.files.access import Carried
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.hash.pictures import picture_reader
from imgdedup_spark.hash.worker import CHUNK_BYTES
from imgdedup_spark.keep.found import Found
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail, Thumbnails
from imgdedup_spark.read.columns import image_column
from imgdedup_spark.read.files import PlacedInFiles
from imgdedup_spark.read.order import ROW_BITS
from imgdedup_spark.read.rows import RowFiles
from imgdedup_spark.read.source import INPUT, ORDER, PLACE, ROW
from imgdedup_spark.spark.settings import picture_settings

_SCHEMA = pa.schema([("id", pa.string()), ("uri", pa.string()), ("format", pa.string()), ("sharpness", pa.float64())])


def read_thumbnails(found: Found, ids: Sequence[str]) -> dict[str, Thumbnail]:
    """The first picture of each of these rows, by id, as far as it can be read.

    Where workers read pictures themselves, they read those of these rows alone; of JSON lines they read the parts
    of files that have them, of CSV and arrays the files, and elsewhere Spark passes all rows of these files.
    """
    config, source = found.config, found.source
    name = image_column(source.schema, config) if config.reads_images and ids else None
    if name is None:
        return {}
    wanted = _wanted(found, ids)
    if not wanted:
        return {}
    column = source.column_reader(name)
    if column is not None and isinstance(found.placed, PlacedInFiles):
        few = _places(found.placed, wanted)
    else:
        column, few = None, _pictures(found, wanted, source.pictures(name))
    maker = Isolated(Thumbnails(config.max_pixels, config.reading), config.image_timeout)
    work = MakeThumbnails(picture_reader(source, config), maker, column)
    with picture_settings(few.sparkSession):
        made = few.mapInArrow(Carried(work), "id string, uri string, format string, sharpness double").collect()
    return {one["id"]: Thumbnail(one["uri"], one["format"], one["sharpness"]) for one in made}


def _wanted(found: Found, ids: Sequence[str]) -> list[tuple[int, str, int]]:
    """``order``, id, and number of the input of these rows, as far as there are any."""
    held = None if found.at_once is None else found.at_once.prints
    # In stages the last one alone is held. Spark writes numbers and texts as Arrow does, and others maybe not.
    if held is not None and len(held) == found.rows_in and _is_plain(held.schema.field("id").type):
        held = held.set_column(held.schema.get_field_index("id"), "id", held.column("id").cast(pa.string()))
        held = held.filter(pc.is_in(held.column("id"), pa.array(ids, pa.string())))
        numbers = held.column(INPUT).to_pylist() if INPUT in held.schema.names else [0] * len(held)
        return sorted(zip(held.column(ORDER).to_pylist(), held.column("id").to_pylist(), numbers, strict=True))
    number = F.col(INPUT) if INPUT in found.prints.columns else F.lit(0)
    text = F.col("id").cast("string").alias("id")
    of = found.prints.select(ORDER, text, number.cast("int").alias("number"))
    return sorted(tuple(one) for one in of.where(F.col("id").isin(list(ids))).collect())


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _places(placed: PlacedInFiles, wanted: Sequence[tuple[int, str, int]]) -> DataFrame:
    """``id``, ``number`` and the place of these rows, which their order tells: nothing is read for it."""
    uris = {ordinal: uri for _, uri, ordinal in placed.files}
    rows = [(id, number, (uris[order >> ROW_BITS], order & ((1 << ROW_BITS) - 1))) for order, id, number in wanted]
    schema = f"id string, number int, {PLACE} struct<file: string, row: bigint>"
    return placed.source.frame.sparkSession.createDataFrame(rows, schema)


def _pictures(found: Found, wanted: Sequence[tuple[int, str, int]], pictures: Column) -> DataFrame:
    """``id``, ``number`` and ``image`` of these rows."""
    rows = _rows(found, [one[0] for one in wanted])
    numbers = rows.sparkSession.createDataFrame(wanted, f"{ROW} bigint, id string, number int")
    # Some hundred numbers: a broadcast, so that no picture is shuffled.
    return rows.select(ROW, pictures.alias("image")).join(F.broadcast(numbers), ROW).drop(ROW)


def _rows(found: Found, orders: Sequence[int]) -> DataFrame:
    """The source's rows with ``ROW``, of the files that are concerned, or parts of them, if that can be told."""
    if not isinstance(found.placed, PlacedInFiles):
        return found.placed.rows()
    source, numbers = found.placed.source, defaultdict(list)
    for order in orders:
        numbers[order >> ROW_BITS].append(order & ((1 << ROW_BITS) - 1))
    files = {(file[0], file[1]): numbers[file[2]] for file in found.placed.files if file[2] in numbers}
    if isinstance(source, RowFiles):
        return found.placed.rows(source.holding(files).frame)
    states = [one for one in source.states if (one.input, one.uri) in files]
    return found.placed.rows(source.only(states).frame if len(states) == len(files) else None)


@dataclass
class MakeThumbnails:
    """The worker's side: rows of ``id``, ``number`` (of the input) and ``image``, or a place → thumbnails."""

    reader: PictureReader
    maker: Isolated
    column: ColumnReader | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pylist(list(self._make(batch)), _SCHEMA)

    def _make(self, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        numbers, ids = np.asarray(batch.column("number")), batch.column("id").to_pylist()
        inputs = numbers if len(self.reader.rules.roots) > 1 else np.zeros_like(numbers)
        portions = [(0, batch.column("image"))] if self.column is None else self.column.read(batch.column(PLACE))
        done = set()
        for first, images in portions:
            for pictures in self.reader.read_chunks(images, inputs[first : first + len(images)], CHUNK_BYTES):
                fresh = {}
                for row, data in zip((pictures.row + first).tolist(), pictures.data, strict=True):
                    if row not in done and data is not None:
                        fresh[row] = data
                    done.add(row)
                for row, made in zip(fresh, self.maker.hash_batch(list(fresh.values())), strict=True):
                    if made:
                        yield {"id": ids[row], **vars(made)}
