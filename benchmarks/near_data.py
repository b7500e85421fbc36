"""Hashes of the kind that real pictures have: pHashes of random crops of the photographs that come with
scikit-image.

Made once and kept under ``benchmarks/data/`` (not in git). A crop is 15% to 90% of the photograph's width and
height, each drawn by itself, half of them mirrored or turned. Crops of one photograph that lie close together are
near-duplicates, so the set has dense neighbourhoods as well as correlated bits.

    python benchmarks/near_data.py        # a few minutes on two cores
    OPENBLAS_NUM_THREADS=1 python benchmarks/near_data.py 64 100000000
"""

from __future__ import annotations

import multiprocessing
import sys
from functools import cache
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

DATA = Path(__file__).parent / "data"
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
#: Distinct hashes, unless more are asked for: of 64 bits 10 million references and 100,000 new ones.
COUNTS = {64: 10_100_000, 256: 1_000_000}
BATCH = 20_000


@cache
def _pyramids() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All photographs in grey at full size, half, a quarter, …: the pixels one after another, each level's
    ``(start, width, height)``, and each photograph's first level (and the end)."""
    pixels, levels, firsts = [], [], [0]
    start = 0
    for name in PHOTOGRAPHS:
        image = Image.fromarray(np.asarray(getattr(data, name)())).convert("L")
        while True:
            pixels.append(np.asarray(image).ravel())
            levels.append((start, *image.size))
            start += pixels[-1].size
            if min(image.size) < 64:
                break
            image = image.reduce(2)
        firsts.append(len(levels))
    return np.concatenate(pixels), np.array(levels), np.array(firsts)


@numba.njit(cache=True)
def _sample(
    pixels: npt.NDArray[np.uint8],
    levels: npt.NDArray[np.int64],
    level: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.float64],
    turns: npt.NDArray[np.int64],
    grids: npt.NDArray[np.float32],
) -> None:
    """Bilinear samples of each box (in pixels of its level), turned or mirrored in one of eight ways."""
    side = grids.shape[1]
    across, share = np.empty(side, np.int64), np.empty(side)
    line = np.empty(side, np.float32)
    for i in range(grids.shape[0]):
        start, width, height = levels[level[i]]
        x0, y0, w, h = boxes[i]
        for c in range(side):
            x = min(max(x0 + (c + 0.5) * w / side - 0.5, 0.0), width - 1.001)
            across[c] = int(x)
            share[c] = x - across[c]
        for r in range(side):
            y = min(max(y0 + (r + 0.5) * h / side - 0.5, 0.0), height - 1.001)
            iy = int(y)
            fy = y - iy
            for c in range(side):
                at = start + iy * width + across[c]
                top = pixels[at] * (1 - share[c]) + pixels[at + 1] * share[c]
                bottom = pixels[at + width] * (1 - share[c]) + pixels[at + width + 1] * share[c]
                line[c] = top * (1 - fy) + bottom * fy
            row = side - 1 - r if turns[i] & 1 else r
            if turns[i] & 4:
                for c in range(side):
                    grids[i, side - 1 - c if turns[i] & 2 else c, row] = line[c]
            else:
                for c in range(side):
                    grids[i, row, side - 1 - c if turns[i] & 2 else c] = line[c]


def _crop_hashes(job: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """``(count, bits // 8)`` hashes of random crops."""
    seed, bits, count = job
    rng = np.random.default_rng([seed, bits])
    pixels, levels, firsts = _pyramids()
    side, low = {64: (32, 8), 256: (64, 16)}[bits]
    photograph = rng.integers(len(PHOTOGRAPHS), size=count)
    whole = levels[firsts[photograph], 1:]
    sizes = whole * rng.uniform(0.15, 0.9, (count, 2))
    corners = (whole - sizes) * rng.uniform(0, 1, (count, 2))
    # The smallest level at which the crop still has about as many pixels as the grid.
    step = np.log2(np.maximum(sizes.min(axis=1) / side, 1)).astype(np.int64)
    level = np.minimum(firsts[photograph] + step, firsts[photograph + 1] - 1)
    scale = 2.0 ** (level - firsts[photograph])
    boxes = np.concatenate([corners, sizes], axis=1) / scale[:, None]
    turns = np.where(rng.integers(2, size=count) == 0, 0, rng.integers(8, size=count))
    grids = np.empty((count, side, side), dtype=np.float32)
    _sample(pixels, levels, level, boxes, turns, grids)
    basis = np.cos(np.pi / side * np.outer(np.arange(low), np.arange(side) + 0.5)).astype(np.float32)
    spectrum = (basis @ grids @ basis.T).reshape(count, bits)
    return np.packbits(spectrum > np.median(spectrum, axis=1, keepdims=True), axis=1)


def real_hashes(bits: int, count: int = 0) -> npt.NDArray[np.uint8]:
    """``(n, bits // 8)`` distinct hashes in random order, at least ``count``, made if they are not there yet."""
    count = max(count, COUNTS[bits])
    path = DATA / f"near_{bits}_{count}.npy"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        distinct = np.zeros(0, np.uint64 if bits == 64 else f"V{bits // 8}")
        seed = 0
        with multiprocessing.Pool() as pool:
            while len(distinct) < count:  # crops repeat hashes
                batches = (count - len(distinct)) * 5 // 4 // BATCH + 1
                jobs = [(number, bits, BATCH) for number in range(seed, seed + batches)]
                made = np.concatenate(list(pool.imap_unordered(_crop_hashes, jobs)))
                distinct = np.unique(np.concatenate([distinct, made.view(distinct.dtype).ravel()]))
                seed += batches
                print(f"{len(distinct):,} distinct of {seed * BATCH:,}", flush=True)
        np.random.default_rng(0).shuffle(distinct)
        np.save(path, distinct.view(np.uint8).reshape(-1, bits // 8))
    return np.load(path)


def uniform_hashes(count: int, bits: int) -> npt.NDArray[np.uint8]:
    """``(count, bits // 8)`` random hashes; repeats among so few are too rare to matter."""
    return np.random.default_rng(1).integers(0, 256, (count, bits // 8), dtype=np.uint8)


if __name__ == "__main__":
    asked = tuple(map(int, sys.argv[1:]))
    for wanted in [asked] if asked else [(64,), (256,)]:
        print(wanted[0], "bits:", len(real_hashes(*wanted)), "distinct hashes")
