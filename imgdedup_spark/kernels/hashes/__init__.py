"""Pictures → hashes: one :class:`Hasher` computes all hashes of a run, a batch of files at a time.

Pure Python and NumPy; nothing here knows of Spark. The families live in modules of their own, imported only
by the :class:`Hasher` that needs them, because imports are a good part of a worker's start.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from imgdedup_spark.errors import ImageError, UserError
from imgdedup_spark.kernels.hashes.family import Kernel
from imgdedup_spark.kernels.pictures.decode import DEFAULT_MAX_PIXELS, Bytes, Picture, explained, quiet

__all__ = ["METHODS", "Decode", "Fingerprints", "HashSpec", "Hasher", "validate"]
Decode: TypeAlias = Literal["fast", "exact"]
# Below 2 a difference has no bits; above 64 the grid (256x256) has more detail than many pictures.
_SIZES = range(2, 65)


@dataclass(frozen=True)
class _Method:
    """What a method's name stands for.

    Attributes:
        family: the module here whose function of the method's name makes its :class:`Kernel`.
        bits: N → bits of one picture's hash; None where the length varies from picture to picture.
        sized: whether the method has a size N.
        near: whether the Hamming distance between two hashes means something.
    """

    family: str
    bits: Callable[[int], int | None]
    sized: bool = True
    near: bool = True


def _square(size: int) -> int:
    return size * size


_METHODS = {
    "phash": _Method("dct", _square),
    "phash_simple": _Method("dct", _square),
    "dhash": _Method("cells", _square),
    "dhash_vertical": _Method("cells", _square),
    "ahash": _Method("cells", _square),
    "whash": _Method("wavelet", _square),
    "colorhash": _Method("color", lambda size: 42, sized=False),
    "crop_resistant": _Method("segments", lambda size: None, near=False),
    "pdq": _Method("pdq", lambda size: 256, sized=False),
    "double_gradient": _Method("cells", lambda size: 2 * size * size),
    "md5": _Method("digests", lambda size: 128, sized=False, near=False),
    "pixels": _Method("digests", lambda size: 128, sized=False, near=False),
}
METHODS: tuple[str, ...] = tuple(_METHODS)


@dataclass(frozen=True)
class HashSpec:
    """One hash of a run.

    Attributes:
        method: one of ``METHODS``.
        size: N of NxN bits; methods without a size ignore it.
    """

    method: str = "phash"
    size: int = 8

    @property
    def bits(self) -> int | None:
        """Bits of one picture's hash; None for ``crop_resistant``, whose length varies."""
        return _METHODS[self.method].bits(self.size)

    @property
    def digits(self) -> int | None:
        """Hexadecimal digits of one picture's hash; None where the length varies."""
        bits = self.bits
        return None if bits is None else -(-bits // 4)

    @property
    def near(self) -> bool:
        """Whether the Hamming distance between two hashes means something."""
        return _METHODS[self.method].near


def validate(spec: HashSpec) -> None:
    """Raises UserError, one line that says what to change, unless ``spec`` can be computed."""
    method = _METHODS.get(spec.method)
    if spec.method == "clip":
        raise UserError(f"clip makes embeddings, which a job compares, and no hash: choose one of {', '.join(METHODS)}")
    if method is None:
        raise UserError(f"unknown method {spec.method!r}: choose one of {', '.join(METHODS)}")
    if not method.sized:
        return
    if spec.size not in _SIZES:
        sizes = f"{_SIZES.start} to {_SIZES.stop - 1}"
        raise UserError(f"hash size {spec.size} is out of range for {spec.method}: choose {sizes}")
    if spec.method == "whash" and spec.size & (spec.size - 1):
        raise UserError(f"hash size {spec.size} does not fit whash: choose 2, 4, 8, 16, 32 or 64")


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of a batch, one entry a picture in each field.

    Attributes:
        hashes: ``[spec][picture]``, lower-case hexadecimal digits; None where the picture could not be read.
        width: (pictures,) int32, pixels of the upright picture; 0 where it could not be read.
        height: likewise.
        errors: picture → why it could not be read.
    """

    hashes: list[list[str | None]]
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    errors: dict[int, ImageError]


class Hasher:
    """Computes the hashes of a run. Picklable; imports what its methods need at the first batch.

    Args:
        specs: the hashes; one decode serves all that can do with the same scale.
        decode: ``exact``: bits equal to the ``imagehash`` package's; ``fast``: reduced-scale decoding where
            the format allows it. ``md5`` and ``pixels`` are the same in both.
        max_pixels: larger pictures are refused (``too_large``) before they are decoded.

    Raises:
        UserError: a spec that :func:`validate` refuses, or an unknown ``decode``.
    """

    def __init__(
        self, specs: Sequence[HashSpec], decode: Decode = "fast", max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> None:
        for spec in specs:
            validate(spec)
        if decode not in ("fast", "exact"):
            raise UserError(f"unknown decode {decode!r}: choose fast or exact")
        self.specs = tuple(specs)
        self.decode = decode
        self.max_pixels = max_pixels
        self._kernels: list[Kernel] | None = None

    def __reduce__(self) -> tuple[type[Hasher], tuple[Sequence[HashSpec], Decode, int]]:
        return Hasher, (self.specs, self.decode, self.max_pixels)  # kernels are made anew where they are used

    def hash_batch(self, pictures: Sequence[Bytes]) -> Fingerprints:
        """Hashes files. Pictures are decoded one at a time, so that memory does not grow with the batch.

        Args:
            pictures: the files' bytes (anything with the buffer protocol).
        """
        if self._kernels is None:
            self._kernels = [_kernel(spec) for spec in self.specs]
        count = len(pictures)
        width, height = np.zeros(count, np.int32), np.zeros(count, np.int32)
        errors: dict[int, ImageError] = {}
        readable: list[int] = []  # first copies of readable pictures
        measured: list[list[bytes]] = [[] for _ in self._kernels]
        twins = _twins(pictures)
        with quiet():
            for row, data in enumerate(pictures):
                if row in twins:
                    continue
                try:
                    with explained(data):
                        picture = Picture(data, self.max_pixels, self.decode == "fast")
                        measures = [kernel.measure(picture) for kernel in self._kernels]
                        width[row], height[row] = picture.size
                except ImageError as error:
                    errors[row] = error
                    continue
                readable.append(row)
                for kept, measure in zip(measured, measures, strict=True):
                    kept.append(measure)

        hashes: list[list[str | None]] = []
        for kernel, kept in zip(self._kernels, measured, strict=True):
            column: list[str | None] = [None] * count
            for row, text in zip(readable, kernel.hashes(kept) if kept else [], strict=True):
                column[row] = text
            hashes.append(column)
        for row, first in twins.items():
            width[row], height[row] = width[first], height[first]
            for column in hashes:
                column[row] = column[first]
            if first in errors:
                errors[row] = errors[first]
        return Fingerprints(hashes, width, height, errors)


def _twins(pictures: Sequence[Bytes]) -> dict[int, int]:
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


def _kernel(spec: HashSpec) -> Kernel:
    """The code behind a spec. Imported here, so that a worker loads only what its run needs."""
    method = _METHODS[spec.method]
    make: Callable[..., Kernel] = getattr(importlib.import_module(f"{__name__}.{method.family}"), spec.method)
    return make(spec.size) if method.sized else make()
