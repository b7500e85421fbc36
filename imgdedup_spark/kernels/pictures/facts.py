"""What is noticed of the pictures of a batch besides their hashes or vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.trouble import Bytes

__all__ = ["Facts", "twins_of"]


@dataclass(frozen=True)
class Facts:
    """One entry a picture in each field.

    Attributes:
        width: (n,) int32, pixels of the upright picture; 0 where it could not be read.
        height: likewise.
        frames: (n,) int32, how many were looked at one by one: 1 but for animations.
        animated: (n,) bool, whether the file shows several frames.
        quality: (n,) int32, 0 to 100; -1 where nothing was decoded.
        flat: what stands for a flat picture's hash; None for all others.
        errors: picture → why it could not be read.
        warnings: picture → what is wrong with it although it could be read.
    """

    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    frames: npt.NDArray[np.int32]
    animated: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.int32]
    flat: list[str | None]
    errors: dict[int, ImageError] = field(default_factory=dict)
    warnings: dict[int, list[ImageError]] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int) -> Facts:
        """Of so many pictures, nothing of which is known yet."""
        return cls(
            width=np.zeros(count, np.int32),
            height=np.zeros(count, np.int32),
            frames=np.ones(count, np.int32),
            animated=np.zeros(count, np.bool_),
            quality=np.full(count, -1, np.int32),
            flat=[None] * count,
        )

    def note(self, place: int, picture: Picture, frames: int = 1) -> None:
        """Fills in what the picture tells of itself, once it has been looked at."""
        self.width[place], self.height[place] = picture.size
        self.animated[place] = picture.is_animated
        self.frames[place] = frames
        if picture.warnings:
            self.warnings[place] = picture.warnings

    def fail(self, place: int, error: ImageError) -> None:
        """Notes why a picture could not be read. Of the error, not its traceback, which holds on to decoded pixels."""
        self.errors[place] = ImageError(error.code, error.message)

    def copy(self, place: int, other: int) -> None:
        """Fills in what is known of another picture with the same bytes."""
        for column in (self.width, self.height, self.frames, self.animated, self.quality):
            column[place] = column[other]
        self.flat[place] = self.flat[other]
        if other in self.errors:
            self.errors[place] = self.errors[other]
        if other in self.warnings:
            self.warnings[place] = self.warnings[other]


def twins_of(pictures: Sequence[Bytes]) -> dict[int, int]:
    """Rows whose bytes equal an earlier row's → that row.

    Files are looked up by their length and a few bytes from the middle and compared in full only if those
    agree: under a microsecond for each file that has no copy.
    """
    first: dict[tuple[int, bytes], int] = {}
    twins = {}
    for row, data in enumerate(pictures):
        middle = len(data) // 2
        other = first.setdefault((len(data), bytes(data[middle : middle + 16])), row)
        if other != row and data == pictures[other]:
            twins[row] = other
    return twins
