"""The methods: what each one's name stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imgdedup_spark.errors import UserError

__all__ = ["METHODS", "HashSpec", "Method", "validate"]
# Below 2 a difference has no bits; above 64 the grid (256x256) has more detail than many pictures.
_SIZES = range(2, 65)


@dataclass(frozen=True)
class Method:
    """What a method's name stands for.

    Attributes:
        family: the module here whose function of the method's name makes its :class:`Kernel`.
        bits: N → bits of one picture's hash; None where the length varies from picture to picture.
        sized: whether the method has a size N.
        near: whether the Hamming distance between two hashes means something.
        views: whether it is one of a grid, which other views of a picture have, too.
    """

    family: str
    bits: Callable[[int], int | None]
    sized: bool = True
    near: bool = True
    views: bool = True


def _square(size: int) -> int:
    return size * size


_METHODS = {
    "phash": Method("dct", _square),
    "phash_simple": Method("dct", _square),
    "dhash": Method("cells", _square),
    "dhash_vertical": Method("cells", _square),
    "ahash": Method("cells", _square),
    "whash": Method("wavelet", _square),
    "colorhash": Method("color", lambda size: 42, sized=False, views=False),
    "color": Method("hues", lambda size: 96, sized=False),
    "crop_resistant": Method("segments", lambda size: None, near=False, views=False),
    "pdq": Method("pdq", lambda size: 256, sized=False),
    "double_gradient": Method("cells", lambda size: 2 * size * size),
    "md5": Method("digests", lambda size: 128, sized=False, near=False, views=False),
    "pixels": Method("digests", lambda size: 128, sized=False, near=False, views=False),
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
    def about(self) -> Method:
        """What is known of its method."""
        return _METHODS[self.method]

    @property
    def bits(self) -> int | None:
        """Bits of one picture's hash; None for ``crop_resistant``, whose length varies."""
        return self.about.bits(self.size)

    @property
    def digits(self) -> int | None:
        """Hexadecimal digits of one picture's hash; None where the length varies."""
        bits = self.bits
        return None if bits is None else -(-bits // 4)

    @property
    def near(self) -> bool:
        """Whether the Hamming distance between two hashes means something."""
        return self.about.near

    @property
    def has_views(self) -> bool:
        """Whether it can be taken of other views of a picture, too."""
        return self.about.views


def validate(spec: HashSpec) -> None:
    """Raises UserError, one line that says what to change, unless ``spec`` can be computed."""
    method = _METHODS.get(spec.method)
    if spec.method in ("clip", "sscd"):
        raise UserError(
            f"{spec.method} makes embeddings, which a job compares, and no hash: choose one of {', '.join(METHODS)}"
        )
    if method is None:
        raise UserError(f"unknown method {spec.method!r}: choose one of {', '.join(METHODS)}")
    if not method.sized:
        return
    if spec.size not in _SIZES:
        sizes = f"{_SIZES.start} to {_SIZES.stop - 1}"
        raise UserError(f"hash size {spec.size} is out of range for {spec.method}: choose {sizes}")
    if spec.method == "whash" and spec.size & (spec.size - 1):
        raise UserError(f"hash size {spec.size} does not fit whash: choose 2, 4, 8, 16, 32 or 64")
