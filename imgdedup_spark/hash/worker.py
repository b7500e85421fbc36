"""The worker's side of hashing: Arrow batches of pictures in, batches of prints out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import ImageError
from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.hash.faults import PictureHasher, hash_or_stop
from imgdedup_spark.hash.problems import ERROR, WARNING
from imgdedup_spark.kernels.hashes import view_codes
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS, digest
from imgdedup_spark.kernels.pictures.facts import Facts
from imgdedup_spark.kernels.pictures.reader import PictureReader, Pictures
from imgdedup_spark.read.source import PLACE

#: Pictures given as paths are read in portions of about this size, so that a batch of paths to large files
#: does not fill a worker.
CHUNK_BYTES = 32 << 20
_ERROR = pa.struct([("position", pa.int32()), ("error", pa.string()), ("message", pa.string()), ("level", pa.string())])
_BEST = 100  # of qualities


class HashPictures:
    """Arrow batches with an ``image`` column → the same rows with prints instead.

    Args:
        names: of the columns of hashes that the hasher makes.
        binary: whether those are bytes; else strings.
        column: reads pictures by ``PLACE``, if the batches have no images.
        views: hexadecimal digits of each of the hashes, if the hasher makes views, too.
        count: is told rows, images and rows with errors of each batch.
    """

    def __init__(
        self,
        hasher: PictureHasher,
        reader: PictureReader,
        names: Sequence[str] = ("imagehash",),
        binary: bool = False,
        column: ColumnReader | None = None,
        views: Sequence[int] | None = None,
        count: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self.hasher, self.reader, self.column, self.count = hasher, reader, column, count
        self.names, self.binary, self.views = tuple(names), binary, views

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield self.hash(batch)

    def hash(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = Rows(batch.num_rows, self.names, self.binary, self.views)
        inputs = None
        if PLACE in batch.schema.names and len(self.reader.rules.roots) > 1:
            inputs = np.asarray(batch.column(PLACE).field("input"))
        portions = [(0, batch.column("image"))] if self.column is None else self.column.read(batch.column(PLACE))
        for first, images in portions:
            here = None if inputs is None else inputs[first : first + len(images)]
            for pictures in self.reader.read_chunks(images, here, CHUNK_BYTES):
                rows.add(pictures, first, self.hasher)
        if self.count is not None:
            self.count(batch.num_rows, int(rows.images.sum()), int(rows.failed.sum()))
        columns = {name: batch.column(name) for name in batch.schema.names if name != "image"}
        return pa.RecordBatch.from_pydict({**columns, **rows.columns()})


class Rows:
    """Gathers the pictures of a batch into its rows."""

    def __init__(self, count: int, names: Sequence[str], binary: bool, digits: Sequence[int] | None = None) -> None:
        self.names, self.binary, self.digits = names, binary, digits
        self.views: list[list[view_codes.Hashes]] = [[] for _ in range(count)]  # beside the hashes
        self.hashes: list[list[list[Any]]] = [[[] for _ in range(count)] for _ in names]
        self.images = np.zeros(count, np.int32)
        self.width = np.zeros(count, np.int32)
        self.height = np.zeros(count, np.int32)
        self.bytes = np.zeros(count, np.int64)
        self.pixels = np.zeros(count, np.int64)
        self.quality = np.full(count, _BEST + 1, np.int32)  # more than any: not known
        self.animated = np.zeros(count, np.int32)
        self.further = np.zeros(count, np.int32)
        self.errors: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        self.failed = np.zeros(count, np.bool_)
        self.flat: list[list[str | None]] = [[] for _ in range(count)]  # beside the hashes

    def add(self, pictures: Pictures, first: int, hasher: PictureHasher) -> None:
        """Args:
        first: the row that the pictures' row 0 is.
        """
        readable = [i for i in range(len(pictures.data)) if i not in pictures.errors]
        data = [one for one in (pictures.data[i] for i in readable) if one is not None]
        prints = hash_or_stop(hasher, data)
        facts: Facts = prints.facts
        row = pictures.row + first
        for i, error in sorted({**pictures.errors, **{readable[i]: one for i, one in facts.errors.items()}}.items()):
            self.complain(row[i], pictures.position[i], error)
        for i, warnings in facts.warnings.items():
            for warning in warnings:
                self.complain(row[readable[i]], pictures.position[readable[i]], warning, WARNING)
        rows = row[readable]
        seen = prints.views if self.digits is not None else [{}] * len(rows)
        for one, flat, views, *found in zip(rows, facts.flat, seen, *prints.hashes, strict=True):
            if None not in found:
                self.views[one].append(views)
                for gathered, value in zip(self.hashes, found, strict=True):
                    gathered[one].append(value)
                self.flat[one].append(flat)
        np.add.at(self.images, row, 1)
        np.add.at(self.images, rows, facts.frames - 1)
        np.add.at(self.further, rows, facts.frames - 1)
        np.add.at(self.animated, rows, facts.animated.astype(np.int32))
        known = facts.quality >= 0
        np.minimum.at(self.quality, rows[known], facts.quality[known])
        np.add.at(self.bytes, row, pictures.size)
        np.add.at(self.pixels, rows, facts.width.astype(np.int64) * facts.height)
        # A row's first picture gives its width and height: written last to first, so that it wins, unless an
        # earlier portion of the batch has brought it.
        fresh = self.width[rows] == 0
        self.width[rows[fresh][::-1]] = facts.width[fresh][::-1]
        self.height[rows[fresh][::-1]] = facts.height[fresh][::-1]

    def complain(self, row: int, position: int, error: ImageError, level: str = ERROR) -> None:
        """Adds an entry of ``errors``."""
        entry = {"position": int(position), "error": error.code, "message": error.message, "level": level}
        self.errors[row].append(entry)
        self.failed[row] |= level == ERROR

    def columns(self) -> dict[str, pa.Array]:
        """The rows' hashes, what was measured of their pictures, and their errors."""
        made: dict[str, pa.Array] = {}
        nothing, kind = (b"", pa.binary()) if self.binary else ("", pa.string())
        for name, gathered in zip(self.names, self.hashes, strict=True):
            rows = zip(self.failed, gathered, strict=True)
            made[name] = pa.array([None if failed else nothing.join(parts) for failed, parts in rows], kind)
        if self.digits is not None:
            made["views"] = pa.array(self._views(), pa.list_(pa.binary()))
        none = self.width == 0
        made["images"] = pa.array(self.images)
        made["width"] = pa.array(self.width, mask=none)
        made["height"] = pa.array(self.height, mask=none)
        made["bytes"] = pa.array(self.bytes)
        made["pixels"] = pa.array(self.pixels, mask=none)
        made["quality"] = pa.array(self.quality, mask=self.quality > _BEST)
        made["flat"] = pa.array(map(_flat_key, self.flat, zip(*self.hashes, strict=True)), pa.string())
        made["animated"] = pa.array(self.animated)
        made["further"] = pa.array(self.further)
        made["errors"] = pa.array(self.errors, pa.list_(_ERROR))
        return made

    def _views(self) -> Iterator[list[bytes]]:
        """Of each row the entries of its views; none of one that is unreadable or flat."""
        assert self.digits is not None
        for failed, flat, views, wholes in zip(
            self.failed, self.flat, self.views, zip(*self.hashes, strict=True), strict=True
        ):
            parts = [] if failed or any(flat) else list(zip(views, zip(*wholes, strict=True), strict=True))
            yield view_codes.entries(parts, self.digits)


def _flat_key(flat: list[str | None], hashes: tuple[list[Any], ...]) -> str | None:
    """Of a row's pictures: what stands for a single one, or a digest of as many hex digits as that has; None where none
    of them is flat.

    Args:
        flat: what stands for a flat picture's hashes.
        hashes: of the same pictures.
    """
    if not any(flat):
        return None
    if len(flat) == 1:
        return flat[0]
    keys = [key[:DIGEST_DIGITS] if key else ":".join(found) for key, *found in zip(flat, *hashes, strict=True)]
    return digest("|".join(keys).encode())
