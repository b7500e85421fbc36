"""The worker's side of hashing: Arrow batches of pictures in, batches of hashes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.hash.remembered import Recalled, RememberingHasher
from imgdedup_spark.kernels.pictures.decode import Bytes
from imgdedup_spark.kernels.pictures.reader import PictureReader, Pictures
from imgdedup_spark.read.source import PLACE

#: Pictures given as paths are read in portions of about this size, so that a batch of paths to large files
#: does not fill a worker.
CHUNK_BYTES = 32 << 20


class PictureHasher(Protocol):
    """What makes prints of pictures: a ``hashes.Hasher``, or an ``encoders.embedder.Embedder``."""

    def hash_batch(self, pictures: Sequence[Bytes]) -> Any: ...


class HashPictures:
    """The worker's side: Arrow batches with an ``image`` column → the same rows with hashes instead.

    With a ``column`` reader the batches have no images, but ``PLACE``, where they are read.

    Args:
        names: of the columns of hashes.
        nothing: what a row without images has in them: an empty string, or no bytes.
    """

    def __init__(
        self,
        hasher: PictureHasher,
        reader: PictureReader,
        one_root: bool,
        column: ColumnReader | None = None,
        names: Sequence[str] = ("imagehash",),
        nothing: str | bytes = "",
    ) -> None:
        self.hasher = hasher
        self.reader = reader
        self.one_root = one_root
        self.column = column
        self.names = tuple(names)
        self.nothing = nothing

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield self.hash(batch)

    def hash(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = Rows(batch.num_rows, self.names, self.nothing)
        inputs = None
        if PLACE in batch.schema.names and not self.one_root:
            inputs = np.asarray(batch.column(PLACE).field("input"))
        portions = [(0, batch.column("image"))] if self.column is None else self.column.read(batch.column(PLACE))
        for first, images in portions:
            here = None if inputs is None else inputs[first : first + len(images)]
            for pictures in self.reader.read_chunks(images, here, CHUNK_BYTES):
                rows.add(pictures, first, self.hasher)
        names = [name for name in batch.schema.names if name != "image"]
        columns = {name: batch.column(name) for name in names}
        return pa.RecordBatch.from_pydict({**columns, **rows.columns(isinstance(self.hasher, RememberingHasher))})


class Rows:
    """Gathers the pictures of a batch into its rows."""

    def __init__(self, count: int, names: Sequence[str], nothing: str | bytes) -> None:
        self.names, self.nothing = names, nothing
        self.hashes: list[list[list[Any]]] = [[[] for _ in range(count)] for _ in names]
        self.images = np.zeros(count, np.int32)
        self.width = np.zeros(count, np.int32)
        self.height = np.zeros(count, np.int32)
        self.bytes = np.zeros(count, np.int64)
        self.pixels = np.zeros(count, np.int64)
        self.errors: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        self.known = np.zeros(count, np.int32)
        self.digests: list[bytes | None] = [None] * count

    def add(self, pictures: Pictures, first: int, hasher: PictureHasher) -> None:
        """Args:
        first: the row that the pictures' row 0 is.
        """
        readable = [i for i in range(len(pictures.data)) if i not in pictures.errors]
        data = [one for one in (pictures.data[i] for i in readable) if one is not None]
        prints = hasher.hash_batch(data)
        errors = {**pictures.errors, **{readable[i]: error for i, error in prints.errors.items()}}
        row = pictures.row + first
        for i, error in sorted(errors.items()):
            entry = {"position": int(pictures.position[i]), "error": error.code, "message": error.message}
            self.errors[row[i]].append(entry)
        rows = row[readable]
        for gathered, found in zip(self.hashes, prints.hashes, strict=True):
            for one, value in zip(rows, found, strict=True):
                if value is not None:
                    gathered[one].append(value)
        if isinstance(prints, Recalled):
            np.add.at(self.known, rows, prints.known)
            for one, digest in zip(rows, prints.digests, strict=True):
                self.digests[one] = digest
        np.add.at(self.images, row, 1)
        np.add.at(self.bytes, row, pictures.size)
        np.add.at(self.pixels, rows, prints.width.astype(np.int64) * prints.height)
        # A row's first picture gives its width and height: written last to first, so that it wins, unless an
        # earlier portion of the batch has brought it.
        fresh = self.width[rows] == 0
        self.width[rows[fresh][::-1]] = prints.width[fresh][::-1]
        self.height[rows[fresh][::-1]] = prints.height[fresh][::-1]

    def columns(self, remembers: bool = False) -> dict[str, pa.Array]:
        failed = [bool(errors) for errors in self.errors]
        made: dict[str, pa.Array] = {}
        kind = pa.string() if isinstance(self.nothing, str) else pa.binary()
        for name, gathered in zip(self.names, self.hashes, strict=True):
            values = [None if bad else self.nothing.join(parts) for bad, parts in zip(failed, gathered, strict=True)]
            made[name] = pa.array(values, kind)
        none = self.width == 0
        made["images"] = pa.array(self.images)
        made["width"] = pa.array(self.width, mask=none)
        made["height"] = pa.array(self.height, mask=none)
        made["bytes"] = pa.array(self.bytes)
        made["pixels"] = pa.array(self.pixels, mask=none)
        error = pa.struct([("position", pa.int32()), ("error", pa.string()), ("message", pa.string())])
        made["errors"] = pa.array(self.errors, pa.list_(error))
        if remembers:
            several = (self.images != 1) | np.array(failed, bool)
            made["digest"] = pa.array(self.digests, pa.binary(), mask=several)
            made["known"] = pa.array(self.known)
        return made
