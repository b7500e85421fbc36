"""Views of a picture besides the whole: without its borders, its center, and mirrored and turned.

All come from the pixels that the whole was hashed from. Crops are made of a reduced copy, which has as much as small
grids take of it; turns are made of the grids themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from imgdedup_spark.kernels.hashes.family import Kernel
from imgdedup_spark.kernels.hashes.quality import FLOOR, Grid, qualities
from imgdedup_spark.kernels.hashes.view_codes import Hashes, Texts, joined
from imgdedup_spark.kernels.hashes.view_names import CROPS, TURNS
from imgdedup_spark.kernels.pictures.borders import inner_box
from imgdedup_spark.kernels.pictures.frames import Frame
from imgdedup_spark.kernels.pictures.values import grey_levels

__all__ = ["Seen", "ViewHashes", "crops"]
# Shorter side in pixels of the copy that crops are made of: twice the grid of a 256-bit pHash.
_SIDE = 128
# Pictures of fewer pixels a side are not cropped.
_SMALLEST = 24
# Of each side, cut off at either end of it: what remains is near the whole of a picture cropped by about as much.
_MARGIN = 0.05


@dataclass(frozen=True)
class Seen:
    """What was measured of one frame.

    Attributes:
        crops: the kernels' measures and the grid that quality is in, by name of the crop.
        turned: what each kernel's ``turned_hashes`` takes; empty if nothing is turned.
    """

    crops: Mapping[str, tuple[list[Any], Grid]]
    turned: Sequence[Any] = ()


def crops(frame: Frame, names: Sequence[str]) -> dict[str, Frame]:
    """The crops of a frame that there are.

    Args:
        frame: its luminance has been decoded already.
    """
    picture = frame.at_hand()
    grey = picture if picture.mode == "L" else picture.convert("L")
    if min(grey.size) < _SMALLEST:
        return {}
    factor = min(grey.size) // _SIDE
    if factor > 1:
        grey = grey.reduce(factor)
    found: dict[str, tuple[int, int, int, int]] = {}
    if "trimmed" in names:
        box = inner_box(grey_levels(grey))
        if box is not None:
            top, bottom, left, right = box
            found["trimmed"] = (left, top, right, bottom)
    if "center" in names:
        across, down = round(_MARGIN * grey.width), round(_MARGIN * grey.height)
        found["center"] = (across, down, grey.width - across, grey.height - down)
    return {name: _cropped(grey, box, frame) for name, box in found.items()}


def _cropped(grey: Image.Image, box: tuple[int, int, int, int], frame: Frame) -> Frame:
    return Frame(grey.crop(box), frame.data, frame.fast, frame.background)


class ViewHashes:
    """Hashes of views, beside those of the wholes.

    Args:
        names: of ``VIEWS``, without the whole.
        kernels: of the run's hashes.
    """

    def __init__(self, names: Sequence[str], kernels: Sequence[Kernel]) -> None:
        self._crops = [name for name in CROPS if name in names]
        self._turns = [name for name in TURNS if name in names]
        self._kernels = kernels

    def measure(self, frame: Frame, whole: Sequence[Any], grid_of: Any) -> Seen:
        """Measures a frame's views.

        Args:
            whole: the kernels' measures of it.
            grid_of: measures and frame → the grid that quality is in.
        """
        cropped = {}
        for name, view in (crops(frame, self._crops) if self._crops else {}).items():
            pairs = zip(self._kernels, whole, strict=True)
            measures = [one if kernel.of_whole else kernel.measure(view) for kernel, one in pairs]
            cropped[name] = measures, grid_of(measures, view)
        if not self._turns:
            return Seen(cropped)
        pairs = zip(self._kernels, whole, strict=True)
        return Seen(
            cropped, [one if kernel.turned_measure is None else kernel.turned_measure(frame) for kernel, one in pairs]
        )

    def hashes(
        self, seen: Sequence[Seen], wholes: Sequence[Sequence[str]], rows: Sequence[int], count: int
    ) -> list[Hashes]:
        """Of each picture the hashes of the views that it has; of several frames one after another.

        Args:
            seen: one a frame.
            wholes: ``[spec][frame]``.
            rows: the picture of each frame.
            count: of the pictures.
        """
        frames: list[list[tuple[Hashes, Texts]]] = [[] for _ in range(count)]
        for row, views, whole in zip(rows, self._of_frames(seen), zip(*wholes, strict=True), strict=True):
            frames[row].append((views, whole))
        return [joined(one) if one else {} for one in frames]

    def _of_frames(self, seen: Sequence[Seen]) -> list[Hashes]:
        found: list[Hashes] = [{} for _ in seen]
        for name in self._crops:
            rows = [row for row, one in enumerate(seen) if name in one.crops]
            if not rows:
                continue
            quality = qualities([seen[row].crops[name][1] for row in rows])
            columns = [
                kernel.hashes([seen[row].crops[name][0][number] for row in rows])
                for number, kernel in enumerate(self._kernels)
            ]
            for row, enough, texts in zip(rows, quality >= FLOOR, zip(*columns, strict=True), strict=True):
                if enough:
                    found[row][name] = texts
        if self._turns and seen:
            turned = [
                kernel.turned_hashes([one.turned[number] for one in seen], self._turns)
                for number, kernel in enumerate(self._kernels)
            ]
            for place, name in enumerate(self._turns):
                for row, texts in enumerate(zip(*(column[place] for column in turned), strict=True)):
                    found[row][name] = texts
        return found
