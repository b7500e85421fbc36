"""Thumbnails for one explanation, read in the driver: of picture files and of rows in Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgdedup_spark.config.sections import HashOptions
from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.files.listing import Listed, Walk, ending_of
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.hash.isolated import DEFAULT_SECONDS, Isolated
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail, Thumbnails
from imgdedup_spark.read.order import prefixes
from imgdedup_spark.report.outcome import Outcome, text_of

_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class _Found:
    """Where a row lies: the input's folder, the file, and its row (of a picture file 0)."""

    id: str
    folder: str
    file: Listed
    row: int


def find_thumbnails(outcome: Outcome, ids: Sequence[str]) -> dict[str, Thumbnail]:
    """The first picture of each of these rows, by id, as far as it is found: other inputs than files of pictures and
    Parquet files take Spark to read, and a file may be gone."""
    config, trouble = outcome.config, (UserError, JobError, ValueError, KeyError, *BROKEN)
    try:
        found = list(_find(config, ids))
    except trouble:
        found = []
    if not found:
        return {}
    reading = HashOptions(background=config["background"]).reading
    seconds = config.get("image_timeout") or DEFAULT_SECONDS
    maker = Isolated(Thumbnails(config.get("max_pixels") or DEFAULT_MAX_PIXELS, reading), seconds)
    thumbs = {}
    for one in found:
        try:
            data = next(_pictures(config, one), None)
            made = None if data is None else maker.hash_batch([data])[0]
        except trouble:
            continue
        if made:
            thumbs[one.id] = made
    return thumbs


def _find(config: Mapping[str, Any], ids: Sequence[str]) -> Iterator[_Found]:
    walk = Walk(count_hard_links=config.get("count_hard_links", False))
    inputs = list(config.get("input") or ())
    listed = [walk.files(path) for path in inputs]
    if config.get("id_col"):
        for folder, files in listed:
            for file in files:
                yield from _of_column(config["id_col"], folder, file, ids)
        return
    # Where two inputs have files of one name, ids begin with the input.
    named: dict[str, tuple[str, Listed]] = {}
    for head, (folder, files) in zip(prefixes(inputs), listed, strict=True):
        for file in files:
            named.setdefault(file.name, (folder, file))
            named[head + file.name] = folder, file
    for one in ids:
        name, _, row = one.rpartition("#")
        # A sample's number in its shard is not in its id.
        if name in named and row.isdigit() and ending_of(name) not in ("tar", "tgz"):
            yield _Found(one, *named[name], int(row))


def _of_column(column: str, folder: str, file: Listed, ids: Sequence[str]) -> Iterator[_Found]:
    if ending_of(file.name) not in ("parquet", "pq"):
        return
    opened, path = storage.open_fs(file.uri)
    with opened.open_input_file(path) as stream:
        here = text_of(pq.read_table(stream, columns=[column]).column(0))
    for one, row in zip(ids, pc.index_in(pa.array(ids), here).to_pylist(), strict=True):
        if row is not None:
            yield _Found(one, folder, file, row)


def _pictures(config: Mapping[str, Any], one: _Found) -> Iterator[bytes | memoryview]:
    """The row's pictures that can be read."""
    opened, path = storage.open_fs(one.file.uri)
    if ending_of(one.file.name) not in ("parquet", "pq"):
        with opened.open_input_stream(path, compression=None) as stream:
            yield stream.read()
        return
    with opened.open_input_file(path) as stream:
        names = pq.read_schema(stream).names
    column = config.get("image_col") or ("images" if "images" in names else "image")
    place = pa.array([{"file": _encoded(one.file.uri), "row": one.row}])
    root = config.get("image_root")
    reader = PictureReader(PathRules((root or one.folder,), root is not None, tuple(config.get("allow_store") or ())))
    for _, values in ColumnReader(column).read(place):
        for pictures in reader.read_chunks(values, None, _MOST_BYTES):
            yield from (data for data in pictures.data if data is not None)


def _encoded(uri: str) -> str:
    """As Spark writes a file's name."""
    scheme, authority, path = storage.split_uri(uri)
    return f"{scheme}://{authority}{quote(path)}"
