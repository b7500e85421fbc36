"""Whose fault an error is: the picture's, or that of what looks at pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from PIL import Image

from imgdedup_spark.errors import JobError
from imgdedup_spark.kernels.pictures.trouble import Bytes


class PictureHasher(Protocol):
    """What makes prints of pictures: a ``hashes.Hasher``, or an ``encoders.Embedder``."""

    def hash_batch(self, pictures: Sequence[Bytes]) -> Any: ...


def hash_or_stop(hasher: PictureHasher, pictures: Sequence[Bytes]) -> Any:
    """``hasher.hash_batch``, whose errors are the pictures' own.

    A malformed file can make a decoder raise nearly anything, and so can a broken model, a missing module or a machine
    without memory. A picture that is known to be whole tells them apart.

    Raises:
        JobError: that one fails too.
    """
    prints = hasher.hash_batch(pictures)
    odd = [
        one
        for one in prints.facts.errors.values()
        if one.code in ("corrupt", "unreadable", "too_large", "crashed", "timeout")
    ]
    if odd and hasher.hash_batch([whole_picture()]).facts.errors:
        raise JobError(f"every picture fails here, even one that is known to be whole: {odd[0].message}")
    return prints


@cache
def whole_picture() -> bytes:
    """A small PNG file of many colours."""
    y, x = np.mgrid[:64, :64]
    stream = io.BytesIO()
    Image.fromarray(np.stack([4 * x, 4 * y, x * y % 256], axis=-1).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
