"""``crop_resistant``: a ``dhash`` of each large bright or dark region, so that a crop shares some of them.

The definition is that of the ``imagehash`` package (after DOI 10.1109/ARES.2014.85). Its regions are the
connected components of a thresholded picture; with SciPy's labels a hash takes 8 ms, with the library's loop
over sets of coordinates 170.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.ndimage
from PIL import Image, ImageFilter

from imgdedup_spark.kernels.hashes.family import Kernel, to_hex
from imgdedup_spark.kernels.pictures.frames import Frame

__all__ = ["crop_resistant"]
_SIDE = 300  # pixels a side of the picture that is cut into regions
_LEVEL = 128  # brighter: hills; else valleys
_SMALLEST_REGION = 500  # pixels; only larger regions count
Box = tuple[int, int, int, int]  # left, top, right, bottom


def crop_resistant(size: int) -> Kernel:
    """Comma-separated ``dhash`` values of N² bits, one for each region."""

    def measure(picture: Frame) -> str:
        grey = picture.grey()
        small = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        small = small.filter(ImageFilter.GaussianBlur()).filter(ImageFilter.MedianFilter())
        boxes = list(_regions(np.asarray(small) > _LEVEL)) or [(0, 0, _SIDE, _SIDE)]
        grids = np.stack([np.asarray(_grid(grey, box, size)) for box in boxes])
        return ",".join(to_hex((grids[:, :, 1:] > grids[:, :, :-1]).reshape(len(grids), -1)))

    return Kernel(measure)


def _grid(grey: Image.Image, box: Box, size: int) -> Image.Image:
    """The (N+1)xN grid of one region, whose box is in pixels of the small picture."""
    across, down = grey.width / _SIDE, grey.height / _SIDE
    left, top, right, bottom = (
        round(value) for value in (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    )
    # In pictures of a few pixels a region can round to nothing, where the library fails: one pixel then.
    left, top = min(left, grey.width - 1), min(top, grey.height - 1)
    region = grey.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    return region.resize((size + 1, size), Image.Resampling.LANCZOS)


def _regions(hills: npt.NDArray[np.bool_]) -> Iterator[Box]:
    """Boxes of the large regions: hills, then valleys, each in reading order of their first pixel."""
    # The library ends its search for valleys once it has seen as many pixels as the picture has, and it has
    # counted the frame of pixels around the picture, but no region of one pixel.
    seen = 4 * _SIDE
    for mask in (hills, ~hills):
        labels, count = scipy.ndimage.label(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        for size, place in zip(sizes, scipy.ndimage.find_objects(labels), strict=True):
            if mask is not hills and seen >= _SIDE * _SIDE:
                return
            if size > 1:
                seen += int(size)
            if size > _SMALLEST_REGION:
                yield place[1].start, place[0].start, place[1].stop, place[0].stop
