"""``md5`` and ``pixels``: digests that tell equal from different and nothing in between."""

from __future__ import annotations

import hashlib

from imgdedup_spark.kernels.hashes.family import Kernel
from imgdedup_spark.kernels.pictures.decode import Picture

__all__ = ["md5", "pixels"]


def md5() -> Kernel:
    """MD5 of the file's bytes; no pixel is decoded."""
    return Kernel(lambda picture: hashlib.md5(picture.data, usedforsecurity=False).hexdigest())


def pixels() -> Kernel:
    """BLAKE2b (128 bits) of the upright RGB pixels, always decoded in full, and of the picture's size."""
    return Kernel(_pixels)


def _pixels(picture: Picture) -> str:
    upright = picture.rgb()
    digest = hashlib.blake2b(f"{upright.width}x{upright.height}:".encode(), digest_size=16)
    digest.update(upright.tobytes())
    return digest.hexdigest()
