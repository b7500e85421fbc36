"""Pictures → hashes: one :class:`Hasher` computes all hashes of a run, a batch of files at a time.

Pure Python and NumPy; nothing here knows of Spark. The families live in modules of their own, imported only
by the :class:`Hasher` that needs them, because imports are a good part of a worker's start.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgdedup_spark.errors import ImageError, UserError
from imgdedup_spark.kernels.hashes.family import Kernel
from imgdedup_spark.kernels.hashes.flat import flat_key
from imgdedup_spark.kernels.hashes.methods import HashSpec, validate
from imgdedup_spark.kernels.hashes.quality import FLOOR, SIDE, Grid, qualities, sample
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.facts import Facts, twins_of
from imgdedup_spark.kernels.pictures.frames import Frame
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_PIXELS, READING, Decode, Reading
from imgdedup_spark.kernels.pictures.trouble import Bytes, explained, quiet
from imgdedup_spark.kernels.pictures.watch import in_hand

if TYPE_CHECKING:
    from imgdedup_spark.kernels.hashes.views import Seen, ViewHashes

__all__ = ["Fingerprints", "Hasher"]


@dataclass(frozen=True)
class Fingerprints:
    """What became of a batch, one entry a picture in each field.

    Attributes:
        hashes: ``[spec][picture]``, lower-case hexadecimal digits, of several frames one after another; None where the
            picture could not be read.
        facts: what else was noticed.
        views: hashes of views other than the whole by their names (``view_names.VIEWS``), one a spec; none if none are
            made.
    """

    hashes: list[list[str | None]]
    facts: Facts
    views: list[dict[str, tuple[str, ...]]] = field(default_factory=list)

    @property
    def width(self) -> npt.NDArray[np.int32]:
        return self.facts.width

    @property
    def height(self) -> npt.NDArray[np.int32]:
        return self.facts.height

    @property
    def errors(self) -> dict[int, ImageError]:
        return self.facts.errors


class Hasher:
    """Computes the hashes of a run. Picklable; imports what its methods need at the first batch.

    Args:
        specs: the hashes; one decode serves all that can do with the same scale. The first one decides whether flat
            pictures get a key of their own: digests are right for them, too.
        decode: ``exact``: bits equal to the ``imagehash`` package's, of 8-bit pictures without transparency; ``fast``:
            reduced-scale decoding where the format allows it. ``md5`` and ``pixels`` are the same in both.
        max_pixels: larger pictures are refused (``too_large``) before they are decoded.
        reading: how files become pictures.
        views: names of views to hash as well (``view_names.VIEWS``, without the whole).

    Raises:
        UserError: a spec that :func:`validate` refuses or that has no views, or an unknown ``decode``.
    """

    def __init__(
        self,
        specs: Sequence[HashSpec],
        decode: Decode = "fast",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        reading: Reading = READING,
        views: Sequence[str] = (),
    ) -> None:
        for spec in specs:
            validate(spec)
            if views and not spec.has_views:
                raise UserError(f"{spec.method} has no views: choose a hash of a grid, such as phash")
        if decode not in ("fast", "exact"):
            raise UserError(f"unknown decode {decode!r}: choose fast or exact")
        self.specs = tuple(specs)
        self.decode = decode
        self.max_pixels = max_pixels
        self.reading = reading
        self.views = tuple(views)
        self._kernels: list[Kernel] | None = None
        self._views: ViewHashes | None = None

    def __reduce__(self) -> tuple[type[Hasher], tuple[Any, ...]]:
        # Kernels are made anew where they are used.
        return Hasher, (self.specs, self.decode, self.max_pixels, self.reading, self.views)

    def hash_batch(self, pictures: Sequence[Bytes]) -> Fingerprints:
        """Hashes files. Pictures are decoded one at a time, so that memory does not grow with the batch.

        Args:
            pictures: the files' bytes (anything with the buffer protocol).
        """
        if self._kernels is None:
            self._kernels = [_kernel(spec) for spec in self.specs]
            if self.views:
                from imgdedup_spark.kernels.hashes.views import ViewHashes

                self._views = ViewHashes(self.views, self._kernels)
        facts = Facts.of(len(pictures))
        rows: list[int] = []  # of each frame of the first copies of readable pictures
        measured: list[list[Any]] = [[] for _ in self._kernels]
        grids: list[Grid] = []
        seen: list[Seen] = []
        twins = twins_of(pictures)
        with quiet():
            for row, data in enumerate(pictures):
                if row in twins:
                    continue
                try:
                    with in_hand(row), explained(data):
                        picture = self._picture(data)
                        frames = [self._measures(frame) for frame in self._frames(picture)]
                        facts.note(row, picture, len(frames))
                except ImageError as error:
                    facts.fail(row, error)
                    continue
                for measures, grid, views in frames:
                    rows.append(row)
                    seen += views
                    if grid is not None:
                        grids.append(grid)
                    for kept, measure in zip(measured, measures, strict=True):
                        kept.append(measure)
            if grids:
                self._judge(pictures, rows, grids, facts)

        hashes: list[list[str | None]] = []
        texts = [kernel.hashes(kept) for kernel, kept in zip(self._kernels, measured, strict=True)]
        for found in texts:
            column: list[str | None] = [None] * len(pictures)
            for row, text in zip(rows, found, strict=True):
                column[row] = (column[row] or "") + text
            hashes.append(column)
        others = [] if self._views is None else self._views.hashes(seen, texts, rows, len(pictures))
        for row, first in twins.items():
            facts.copy(row, first)
            for column in hashes:
                column[row] = column[first]
            if others:
                others[row] = others[first]
        return Fingerprints(hashes, facts, others)

    def _picture(self, data: Bytes) -> Picture:
        return Picture(data, self.max_pixels, self.decode == "fast", self.reading)

    def _frames(self, picture: Picture) -> Iterable[Frame]:
        """Those that are hashed one by one."""
        one_by_one = self.reading.frames == "all" and any(spec.about.family != "digests" for spec in self.specs)
        return picture.sequence() if one_by_one else [picture]

    def _measures(self, frame: Frame) -> tuple[list[Any], Grid | None, list[Seen]]:
        """What the kernels measure of a frame, the grid that its quality is in (None if it is not decoded), and what
        is seen of its views."""
        assert self._kernels is not None
        measures = [kernel.measure(frame) for kernel in self._kernels]
        if all(spec.method == "md5" for spec in self.specs):
            return measures, None, []
        grid = self._grid(measures, frame)
        return measures, grid, [] if self._views is None else [self._views.measure(frame, measures, self._grid)]

    def _grid(self, measures: Sequence[Any], frame: Frame) -> Grid:
        for measure, spec in zip(measures, self.specs, strict=True):
            if spec.about.family == "dct" and measure.shape == (SIDE, SIDE):
                return measure
        return sample(frame)

    def _judge(self, pictures: Sequence[Bytes], rows: Sequence[int], grids: Sequence[Grid], facts: Facts) -> None:
        """Adds the qualities, and the keys of flat pictures: those are few, or soon decoded, and are opened anew."""
        facts.quality[rows] = 100
        np.minimum.at(facts.quality, rows, qualities(grids))
        if self.specs[0].about.family == "digests":
            return
        for row in np.flatnonzero((facts.quality >= 0) & (facts.quality < FLOOR)).tolist():
            with in_hand(row):
                facts.flat[row] = flat_key(self._picture(pictures[row]))


def _kernel(spec: HashSpec) -> Kernel:
    """The code behind a spec. Imported here, so that a worker loads only what its run needs."""
    make: Callable[..., Kernel] = getattr(importlib.import_module(f"{__package__}.{spec.about.family}"), spec.method)
    return make(spec.size) if spec.about.sized else make()
