"""The frames of an animation, or the pages of a document; most files have one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.reading import ground_color
from imgdedup_spark.kernels.pictures.trouble import Bytes
from imgdedup_spark.kernels.pictures.upright import turned
from imgdedup_spark.kernels.pictures.values import as_seen, grey_levels, is_deep, values

__all__ = ["MOST_FRAMES", "Frame", "Plane", "frame_numbers", "later_frames", "shows_several"]
#: More are not looked at one by one: at ten milliseconds each that is some seconds a picture.
MOST_FRAMES = 256


class Plane(NamedTuple):
    """Values of a frame.

    Attributes:
        kind: see ``values``.
        size: width and height in pixels.
    """

    kind: str
    size: tuple[int, int]
    content: bytes


class Frame:
    """One upright picture, decoded.

    Args:
        image: its pixels, in whatever mode.
        data: the bytes of its file.
        fast: whether what is made of it may be less exact.

    Attributes:
        grids: what ``kernels.hashes.grids`` has made of it, by what was asked for.
    """

    _levels: tuple[Image.Image, npt.NDArray[np.uint8]] | None = None

    def __init__(self, image: Image.Image, data: Bytes, fast: bool, background: str) -> None:
        self.data = data
        self.fast = fast
        self.background = background
        self.grids: dict[tuple[int, int, int | None], npt.NDArray[np.uint16]] = {}
        self._decoded: dict[tuple[str, int], Image.Image] = {("", 1): image}

    def original(self) -> Image.Image:
        """All pixels, upright, in the file's own mode."""
        return self._decoded["", 1]

    @property
    def is_deep(self) -> bool:
        """Whether its values have more than the 8 bits that are seen."""
        return is_deep(self.original())

    def seen(self) -> Image.Image:
        """All pixels, upright, as people see them: 8 bits a channel, on the background where they are transparent."""
        if ("seen", 1) not in self._decoded:
            self._decoded["seen", 1] = as_seen(self.original(), ground_color(self.background))
        return self._decoded["seen", 1]

    def grey(self, side: int | None = None) -> Image.Image:
        """Upright luminance (mode ``L``) with no side shorter than ``side`` unless the picture's is.

        Only ``fast`` pictures make use of ``side``; None asks for full scale.
        """
        if ("L", 1) not in self._decoded:
            self._decoded["L", 1] = self.seen().convert("L")
        return self._decoded["L", 1]

    def levels(self, grey: Image.Image) -> npt.NDArray[np.uint8]:
        """(height, width), read-only, of a picture in mode ``L``. The last one is at hand: most are asked for twice."""
        if self._levels is None or self._levels[0] is not grey:
            self._levels = grey, grey_levels(grey)
        return self._levels[1]

    def rgb(self) -> Image.Image:
        """All pixels, upright, in mode ``RGB``."""
        picture = self.seen()
        return picture if picture.mode == "RGB" else picture.convert("RGB")

    def colors(self, side: int) -> Image.Image:
        """Upright, in mode ``RGB``, with no side shorter than ``side`` unless the picture's is."""
        return self.rgb()

    def at_hand(self) -> Image.Image:
        """The smallest luminance that has been decoded, else the picture as people see it."""
        scales = [key for key in self._decoded if key[0] == "L"]
        return self._decoded[max(scales, key=lambda key: key[1])] if scales else self.seen()

    def sequence(self) -> Iterator[Frame]:
        """The frames that this one stands for, itself the first."""
        yield self

    def planes(self) -> Iterator[Plane]:
        """The very values."""
        kind, content = values(self.original())
        yield Plane(kind, self.original().size, content)


def shows_several(picture: Image.Image) -> bool:
    """Whether a file that is opened, and not decoded, shows more than one frame."""
    return bool(getattr(picture, "is_animated", False)) and (picture.format != "MPO" or len(frame_numbers(picture)) > 1)


def frame_numbers(picture: Image.Image) -> Sequence[int]:
    """Of all frames that a file shows one after another, as Pillow counts them; the first is 0.

    A JPEG file may hold a preview or a map of brightness beside its picture, which are no frames; several views are.
    """
    if not getattr(picture, "is_animated", False):
        return range(1)
    if picture.format == "MPO":
        entries = picture.mpinfo[0xB002]  # type: ignore[attr-defined]
        return [0, *(i for i, one in enumerate(entries) if i and "Multi-Frame" in str(one["Attribute"]["MPType"]))]
    return range(picture.n_frames)  # type: ignore[attr-defined]


def later_frames(
    picture: Image.Image, numbers: Sequence[int], orientation: int, max_pixels: int
) -> Iterator[Image.Image]:
    """These frames, upright, in whatever mode they decode to.

    Args:
        picture: opened for this alone; it is moved from frame to frame.
        orientation: as the first frame states it.

    Raises:
        ImageError: ``too_large``; and whatever Pillow raises.
    """
    for number in numbers:
        picture.seek(number)
        if picture.width * picture.height > max_pixels:
            raise ImageError("too_large", f"frame {number + 1}: more than {max_pixels:,} pixels")
        yield turned(picture.copy(), orientation)  # the next one may be painted over it
