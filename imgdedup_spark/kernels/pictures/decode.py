"""Bytes → pixels: opens one picture, turns it upright and hands out its pixels at the scale a hash needs.

Nothing here knows of Spark or of hashes. All trouble leaves as :class:`~imgdedup_spark.errors.ImageError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.bounds import check_decoding, check_frames, check_head, check_header
from imgdedup_spark.kernels.pictures.frames import MOST_FRAMES, Frame, Plane, frame_numbers, later_frames, shows_several
from imgdedup_spark.kernels.pictures.mend import mended, odd_end
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS, READING, Reading
from imgdedup_spark.kernels.pictures.sixteen_bits import low_bytes
from imgdedup_spark.kernels.pictures.trouble import Bytes, explained, formats, meant_format
from imgdedup_spark.kernels.pictures.upright import (
    orientation_of,
    states_orientation_late,
    turned,
    turned_size,
    upright_size,
)

__all__ = ["Picture"]


class Picture(Frame):
    """One file, opened; decoded only when pixels are asked for, and only once for each scale.

    With ``fast``, JPEG files are decoded at reduced scale and without colour where the caller can do with
    that. What a caller gets depends on the file and on its own arguments alone, never on what else was
    asked for: a hash is the same whatever other hashes are computed in the same run.

    Args:
        data: the file's bytes.
        max_pixels: a picture of more pixels is refused before it is decoded.
        fast: reduced-scale decoding where the format allows it.

    Attributes:
        warnings: what is wrong with the file beside its picture, as far as was noticed yet.

    Raises:
        ImageError: ``empty``, ``unknown_format``, ``truncated``, ``corrupt`` or ``too_large``; the
        constructor
            as far as the header tells, the other methods for the pixels.
    """

    def __init__(
        self, data: Bytes, max_pixels: int = DEFAULT_MAX_PIXELS, fast: bool = True, reading: Reading = READING
    ) -> None:
        self.data = data
        self.fast = fast
        self.background = reading.background
        self.warnings: list[ImageError] = []
        self._max_pixels = max_pixels
        self._tolerant = reading.tolerant
        self._whole: Bytes = data
        try:
            header = _open(data, max_pixels)
        except ImageError as error:
            if not self._mend(error):
                raise
            header = _open(self._whole, max_pixels)
        self._header: Image.Image | None = header  # until its pixels are decoded; a file can be decoded once
        self._format = header.format
        self._stored_size = header.size
        self._size: tuple[int, int] | None = None
        self._orientation = 1
        self._several: bool | None = None
        self._count = 1  # of frames, once they were counted
        self._looked = False
        self.grids = {}
        self._decoded = {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the upright picture."""
        if self._size is None:
            # Only reached when nothing was decoded. A PNG may state its orientation after its pixels.
            assert self._header is not None
            if self._format == "PNG" and states_orientation_late(self._header, self.data):
                return self.original().size
            self._size = upright_size(self._header)
        return self._size

    @property
    def is_animated(self) -> bool:
        """Whether the file shows several frames or pages."""
        if self._several is None:
            assert self._header is not None
            with explained(self.data, self._format):
                self._several = shows_several(self._header)
        return self._several

    def original(self) -> Image.Image:
        return self._decode("", 1)

    def grey(self, side: int | None = None) -> Image.Image:
        if self.fast and self._format in ("JPEG", "MPO"):
            return self._decode("L", self._scale(side))
        return super().grey(side)

    def colors(self, side: int) -> Image.Image:
        if self.fast and self._format in ("JPEG", "MPO"):
            picture = self._decode("RGB", self._scale(side))
            return picture if picture.mode == "RGB" else picture.convert("RGB")
        return super().colors(side)

    def sequence(self) -> Iterator[Frame]:
        """The frames of the file, ``MOST_FRAMES`` at most, itself the first."""
        yield self
        for number, frame in self._later(MOST_FRAMES):
            if number == MOST_FRAMES - 1 and self._count > MOST_FRAMES:
                what = f"{self._format}: {self._count:,} frames, of which the first {MOST_FRAMES} count"
                self.warnings.append(ImageError("many_frames", what))
            yield frame

    def planes(self) -> Iterator[Plane]:
        """The very values of all frames; of more than ``MOST_FRAMES`` those of so many, and the file."""
        yield from super().planes()
        yield from self._low_bytes(0)
        for number, frame in self._later(MOST_FRAMES):
            yield from frame.planes()
            yield from self._low_bytes(number)
        if self._count > MOST_FRAMES:
            yield Plane("file", self.size, bytes(self.data))

    def _later(self, most: int) -> Iterator[tuple[int, Frame]]:
        """The frames after the first with their numbers, ``most`` with it, and sees how many there are."""
        self.original()  # how the first one is turned, and whether the file can be read at all
        if not self.is_animated:
            return
        with explained(self.data, self._format):
            file = Image.open(BytesIO(self._whole), formats=formats())
            numbers = frame_numbers(file)
            self._count = len(numbers)
            check_frames(min(self._count, most), file.size, self._max_pixels)
            images = later_frames(file, numbers[1:most], self._orientation, self._max_pixels)
            for number, image in zip(numbers[1:most], images, strict=True):
                yield number, Frame(image, self.data, self.fast, self.background)

    def _low_bytes(self, number: int) -> Iterator[Plane]:
        """What ``planes`` lack of colors in 16 bits; nothing of all other pictures."""
        if self._format == "TIFF" or (self._format == "PNG" and number == 0):
            with explained(self.data, self._format):
                low = low_bytes(self._whole, number)
                if low is not None:
                    yield Plane("low", low.size, turned(low, self._orientation).tobytes())

    def _scale(self, side: int | None) -> int:
        """The JPEG decoder's denominator (1, 2, 4 or 8) that leaves no side shorter than ``side``."""
        if side is None:
            return 1
        room = min(self._stored_size) // side
        return next((scale for scale in (8, 4, 2) if room >= scale), 1)

    def _decode(self, mode: str, scale: int) -> Image.Image:
        """Decodes in ``mode`` (``""``: the file's own) at 1/scale."""
        if (mode, scale) not in self._decoded:
            try:
                self._decoded[mode, scale] = self._pixels(mode, scale)
            except ImageError as error:
                if not self._mend(error):
                    raise
                self._decoded[mode, scale] = self._pixels(mode, scale)
            self._look_at_the_end()
        return self._decoded[mode, scale]

    def _pixels(self, mode: str, scale: int) -> Image.Image:
        with explained(self.data, self._format):
            picture = self._header or Image.open(BytesIO(self._whole), formats=formats())
            self._header = None
            if self._several is None:  # to find out takes a GIF back to its start
                self._several = shows_several(picture)
            width, height = self._stored_size
            if mode:
                picture.draft(mode, (width // scale, height // scale))
            self._check(picture)
            if self._format in ("JPEG", "MPO"):
                # A decoder that is handed its file in portions of 64 KiB stops and starts again at each of them.
                picture.decodermaxblock = len(self._whole)  # type: ignore[attr-defined]
            picture.load()
            self._orientation = orientation_of(picture)
            self._size = turned_size(self._stored_size if mode else picture.size, self._orientation)
            if mode and picture.mode != mode:  # CMYK has no luminance-only decoding
                picture = picture.convert(mode)
            return turned(picture, self._orientation)

    def _check(self, picture: Image.Image) -> None:
        """Raises ImageError where decoding takes too much; small pictures take nothing, turned or not."""
        size = picture.width * picture.height
        turned = size > self._max_pixels // 4 and (
            orientation_of(picture) != 1 or (self._format == "PNG" and states_orientation_late(picture, self.data))
        )
        check_decoding(picture, self._whole, self._max_pixels, turned=turned, stored=self._stored_size)

    def _mend(self, error: ImageError) -> bool:
        """Whether what could not be read was something beside the picture, and now is out of the way."""
        if not self._tolerant or self._whole is not self.data or error.code not in ("corrupt", "truncated"):
            return False
        found = mended(self.data, meant_format(self.data))
        if found is None:
            return False
        self._whole, warning = found
        self._header = None
        self.warnings.append(warning)
        return True

    def _look_at_the_end(self) -> None:
        """Once, after a first decode.

        Raises:
            ImageError: ``corrupt``, if the end is odd and that is not tolerated.
        """
        if self._looked:
            return
        self._looked = True
        warning = odd_end(self._whole, self._format)
        if warning is None:
            return
        if not self._tolerant:
            raise ImageError("corrupt", warning.message)
        self.warnings.append(warning)


def _open(data: Bytes, max_pixels: int) -> Image.Image:
    """Reads the header. Raises ImageError as far as the header tells."""
    if len(data) == 0:
        raise ImageError("empty", "no bytes")
    if max_pixels > DEFAULT_MAX_PIXELS and Image.MAX_IMAGE_PIXELS is not None:
        # The user allows more than Pillow would; ours is the limit that counts.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    with explained(data):
        check_head(data, max_pixels)
        picture = Image.open(BytesIO(data), formats=formats())
        check_header(picture, data, max_pixels)
    return picture
