"""``md5`` and ``pixels``: digests that tell equal from different and nothing in between."""

from __future__ import annotations

import hashlib

from imgdedup_spark.kernels.hashes.family import Kernel
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["digest_of", "md5", "pixels"]


def md5() -> Kernel:
    """MD5 of the file's bytes; no pixel is decoded."""
    return Kernel(lambda picture: hashlib.md5(picture.data, usedforsecurity=False).hexdigest())


def pixels() -> Kernel:
    """BLAKE2b (128 bits) of the upright picture's size and values, always decoded in full and at their own depth, with
    its opacity where not all of it is opaque; of all frames.

    Of 8-bit RGB, grey and palette pictures that is their RGB pixels.
    """
    return Kernel(digest_of)


def digest_of(picture: Frame) -> str:
    """The hash ``pixels``."""
    digest = hashlib.blake2b(digest_size=16)
    for kind, (width, height), content in picture.planes():
        digest.update(f"{width}x{height}:{kind}".encode())
        digest.update(content)
    return digest.hexdigest()
