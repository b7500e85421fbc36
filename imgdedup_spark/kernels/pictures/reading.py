"""How files become pictures, as the options say it: no pixels here, so that a wrong option is answered at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "DEFAULT_MAX_BYTES", "DEFAULT_MAX_PIXELS", "FRAMES", "READING", "Decode", "Frames", "Reading", "ground_color"
]  # fmt: skip
# Pillow's own limit: twice Image.MAX_IMAGE_PIXELS is where it refuses (a decoded RGB picture of 0.7 GB).
DEFAULT_MAX_PIXELS = 178_956_970
#: The largest picture that is allowed by its pixels, not packed and in 16 bits a color, has less.
DEFAULT_MAX_BYTES = 1 << 30
Decode: TypeAlias = Literal["fast", "exact"]
Frames: TypeAlias = Literal["first", "all"]
FRAMES: tuple[Frames, ...] = ("first", "all")


@dataclass(frozen=True)
class Reading:
    """How files become pictures (docs/pictures.md).

    Attributes:
        background: what transparent pictures are laid on, as ``PIL.ImageColor`` names colors.
        frames: whether animations and documents of several pages are their first frame or all of them.
        tolerant: whether nearly whole files are read, with a warning.
    """

    background: str = "white"
    frames: Frames = "first"
    tolerant: bool = True


READING = Reading()


def ground_color(name: str) -> tuple[int, int, int]:
    """``white``, ``#ffffff``, ``hsl(…)``, … → red, green, blue. Raises ValueError for what is no color."""
    from PIL import ImageColor  # takes a while to load

    color = ImageColor.getrgb(name)
    return color[0], color[1], color[2]
