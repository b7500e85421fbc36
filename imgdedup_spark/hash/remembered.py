"""Pictures that an earlier run has hashed, found again by their bytes: what is known is not decoded again.

Files whose path, size and time are as they were are not even read (``hashing``). This is for the others: files that
have been moved, renamed, or written again with other rows. The known pictures travel to the workers with the code, on
classic Spark and Spark Connect alike, and that bounds how many they can be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.kernels.arrow import block_batch, fixed_bytes
from imgdedup_spark.kernels.hashes import Fingerprints, Hasher
from imgdedup_spark.kernels.pictures.decode import Bytes

#: Bytes of a digest: the first half of SHA-256, which CPUs compute themselves (30 µs for 58 kB; decoding takes 600).
DIGEST_BYTES = 16


#: What the known pictures may weigh: Spark Connect takes messages of up to 128 MiB.
MOST_BYTES = 48 << 20


_PACKED = "digests binary, texts binary, widths binary, heights binary"


@dataclass(frozen=True)
class Memory:
    """Known pictures, sorted by the first half of their digest.

    Attributes:
        digests: ``(n, 2)`` uint64.
        texts: ``(n,)`` fixed-length bytes, the hex digits of all specs one after another.
        widths, heights: ``(n,)`` int32.
    """

    digests: npt.NDArray[np.uint64]
    texts: npt.NDArray[np.bytes_]
    widths: npt.NDArray[np.int32]
    heights: npt.NDArray[np.int32]

    def find(self, digests: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """The number of each picture here, or -1."""
        if not digests or not len(self.digests):
            return np.full(len(digests), -1)
        asked = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)
        at = np.minimum(np.searchsorted(self.digests[:, 0], asked[:, 0]), len(self.digests) - 1)
        return np.where((self.digests[at] == asked).all(axis=1), at, -1)


@dataclass(frozen=True)
class Recalled(Fingerprints):
    """Attributes:
    digests: of every picture.
    known: ``(pictures,)``, whether it was not decoded.
    """

    digests: list[bytes]
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RememberingHasher:
    """A ``Hasher`` that decodes only what the memory does not know, and says the digests of all."""

    hasher: Hasher
    memory: Memory

    @property
    def specs(self) -> Sequence[Any]:
        return self.hasher.specs

    def hash_batch(self, pictures: Sequence[Bytes]) -> Recalled:
        digests = [hashlib.sha256(data).digest()[:DIGEST_BYTES] for data in pictures]
        at = self.memory.find(digests)
        fresh, old = np.flatnonzero(at < 0), np.flatnonzero(at >= 0)
        made = self.hasher.hash_batch([pictures[row] for row in fresh.tolist()])
        width, height = np.zeros(len(pictures), np.int32), np.zeros(len(pictures), np.int32)
        width[fresh], height[fresh] = made.width, made.height
        width[old], height[old] = self.memory.widths[at[old]], self.memory.heights[at[old]]
        columns: list[list[str | None]] = []
        start = 0
        for spec, found in zip(self.specs, made.hashes, strict=True):
            column: list[str | None] = [None] * len(pictures)
            for row, value in zip(fresh, found, strict=True):
                column[row] = value
            for row in old:
                column[row] = self.memory.texts[at[row]][start : start + spec.digits].decode()
            columns.append(column)
            start += spec.digits or 0
        errors = {int(fresh[row]): error for row, error in made.errors.items()}
        return Recalled(columns, width, height, errors, digests, at >= 0)


#: A picture more is remembered for each so many bytes of new files, and so many in any run.
NEW_BYTES_A_PICTURE, ALWAYS_WORTH = 5_000, 50_000


def can_remember(specs: Sequence[Any]) -> bool:
    """Whether it pays and can be: something is decoded, and each hash has a length of its own."""
    return all(spec.digits is not None for spec in specs) and any(spec.method != "md5" for spec in specs)


def most_pictures(specs: Sequence[Any]) -> int:
    """How many pictures may be known to a run."""
    return MOST_BYTES // (DIGEST_BYTES + 8 + sum(spec.digits or 0 for spec in specs))


def worth_knowing(specs: Sequence[Any], size: int) -> int:
    """How many pictures it pays to know for a run that reads new files of ``size`` bytes: hashing those must take
    several times as long as loading the memory (3 microseconds a picture, on the driver)."""
    return min(most_pictures(specs), max(ALWAYS_WORTH, size // NEW_BYTES_A_PICTURE))


def nothing() -> Memory:
    return Memory(np.zeros((0, 2), np.uint64), np.zeros(0, "S1"), np.zeros(0, np.int32), np.zeros(0, np.int32))


def recall(prints: DataFrame, hashes: Sequence[str]) -> Memory:
    """What stored fingerprints know.

    Args:
        prints: at most ``worth_knowing`` rows: ``digest`` (not null), ``width``, ``height`` and the hash columns.
        hashes: the names of those.
    """
    text = F.encode(F.concat(*hashes), "UTF-8").alias("text")
    rows = prints.select("digest", text, "width", "height").mapInArrow(_pack, _PACKED)
    blocks = [row for row in rows.collect() if row["digests"]]
    if not blocks:
        return nothing()
    digests = np.frombuffer(b"".join(row["digests"] for row in blocks), dtype="<u8").reshape(-1, 2)
    _, first = np.unique(digests[:, 0], return_index=True)
    text_bytes = len(blocks[0]["texts"]) * DIGEST_BYTES // len(blocks[0]["digests"])
    texts = np.frombuffer(b"".join(row["texts"] for row in blocks), dtype=f"S{text_bytes}")
    sizes = [np.frombuffer(b"".join(row[name] for row in blocks), np.int32) for name in ("widths", "heights")]
    return Memory(digests[first], texts[first], sizes[0][first], sizes[1][first])


def _pack(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if batch.num_rows:
            text = batch.column("text")
            yield block_batch(
                digests=fixed_bytes(batch.column("digest"), DIGEST_BYTES),
                texts=fixed_bytes(text, len(text[0].as_py())),
                widths=batch.column("width").to_numpy(),
                heights=batch.column("height").to_numpy(),
            )
