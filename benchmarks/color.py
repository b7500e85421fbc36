"""How far ``color`` is between pictures and their edits, and between objects of one template: tables in Markdown.

python benchmarks/color.py
"""

from __future__ import annotations

import itertools

import numpy as np
from photographs import encoded, view
from PIL import Image
from presets import files_of

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher

PICTURES, SIZE = 78, (469, 393)
COLORS = {"red": (220, 30, 30), "blue": (30, 40, 210), "green": (30, 160, 50), "yellow": (230, 210, 30)}
GROUNDS = {"white": (255, 255, 255), "grey": (120, 120, 118), "green": (90, 140, 70)}


def bits(files: list[bytes]) -> np.ndarray:
    """(files, 96) bool."""
    texts = Hasher([HashSpec("color")]).hash_batch(files).hashes[0]
    return np.unpackbits([np.frombuffer(bytes.fromhex(text or ""), np.uint8) for text in texts], axis=1).astype(bool)


def template(color: tuple[int, int, int], ground: tuple[int, int, int]) -> bytes:
    """A shape of that color."""
    found = Image.new("RGB", SIZE, ground)
    shape = view(4, 0, 300, 200).convert("L")
    found.paste(
        Image.merge("RGB", [shape.point(lambda one, part=part: one * part // 255) for part in color]), (80, 100)
    )
    return encoded(found)


def main() -> None:
    pictures = [view(3, number, *SIZE) for number in range(PICTURES)]
    distances: dict[str, list[list[int]]] = {}
    for strength in range(3):
        for picture in pictures:
            edits = files_of(picture, strength)
            original, *others = bits([encoded(picture), *edits.values()])
            for name, other in zip(edits, others, strict=True):
                distances.setdefault(name, [[], [], []])[strength].append(int((original != other).sum()))
    print(f"Most bits apart, and how many of {PICTURES} are more than 20:\n")
    print("| edit | slight | middle | strong |\n|---|---|---|---|")
    for name, by_strength in distances.items():
        cells = (f"{max(some)} ({sum(one > 20 for one in some)})" for some in by_strength)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\nBits between colors of one template, least to most:\n\n| ground | bits |\n|---|---|")
    for name, ground in GROUNDS.items():
        found = bits([template(color, ground) for color in COLORS.values()])
        apart = [int((one != other).sum()) for one, other in itertools.combinations(found, 2)]
        print(f"| {name} | {min(apart)} to {max(apart)} |")


if __name__ == "__main__":
    main()
