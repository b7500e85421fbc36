"""``md5`` and ``pixels``: digests that tell equal from different and nothing in between."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["BITS", "Md5", "Pixels"]


BITS = 128


class Md5:
    """MD5 of the file's bytes; no pixel is decoded."""

    def measure(self, picture: Picture) -> bytes:
        return hashlib.md5(picture.data, usedforsecurity=False).digest()

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return [digest.hex() for digest in measured]


class Pixels:
    """BLAKE2b (128 bits) of the upright RGB pixels, always decoded in full, and of the picture's size."""

    def measure(self, picture: Picture) -> bytes:
        pixels = picture.rgb()
        digest = hashlib.blake2b(f"{pixels.width}x{pixels.height}:".encode(), digest_size=BITS // 8)
        digest.update(pixels.tobytes())
        return digest.digest()

    def hashes(self, measured: Sequence[bytes]) -> list[str]:
        return [digest.hex() for digest in measured]
