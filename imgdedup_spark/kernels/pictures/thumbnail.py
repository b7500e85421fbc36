"""Small pictures for people to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS, READING, Reading
from imgdedup_spark.kernels.pictures.signatures import format_of
from imgdedup_spark.kernels.pictures.trouble import Bytes, explained, quiet
from imgdedup_spark.kernels.pictures.watch import in_hand

#: Pixels of the longer side: two on a phone beside each other.
SIDE = 160
# Where sharpness is measured. All pictures are brought to it, so that one that was enlarged is the less sharp one.
_SHARP_SIDE = 512


@dataclass(frozen=True)
class Thumbnail:
    """A picture made small.

    Attributes:
        uri: a ``data:`` URI of a JPEG file of at most 160 pixels a side.
        format: of the picture itself, as ``JPEG``; empty if unknown.
        sharpness: the standard deviation of the Laplacian at 512×512, in grey levels.
    """

    uri: str
    format: str = ""
    sharpness: float = 0.0


@dataclass(frozen=True)
class Thumbnails:
    """Makes thumbnails of a batch of files, as a hasher hashes one, and in the same process of its own
    (``hash/isolated.py``)."""

    max_pixels: int = DEFAULT_MAX_PIXELS
    reading: Reading = READING

    def hash_batch(self, pictures: Sequence[Bytes]) -> list[Thumbnail | None]:
        """None in the place of pictures that cannot be read."""
        return [self._one(place, data) for place, data in enumerate(pictures)]

    def _one(self, place: int, data: Bytes) -> Thumbnail | None:
        try:
            with in_hand(place), quiet(), explained(data):
                return thumbnail(data, self.max_pixels, self.reading)
        except ImageError:
            return None


def thumbnail(data: Bytes, max_pixels: int = DEFAULT_MAX_PIXELS, reading: Reading = READING) -> Thumbnail:
    """Raises:
    ImageError: the picture cannot be read.
    """
    shown = Picture(data, max_pixels, reading=reading).rgb().copy()
    grey = np.asarray(shown.convert("L").resize((_SHARP_SIDE, _SHARP_SIDE), Image.Resampling.BICUBIC), np.float32)
    inner = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    shown.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=75, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    return Thumbnail(uri, format_of(bytes(data[:64])) or "", float(edges.std()))
