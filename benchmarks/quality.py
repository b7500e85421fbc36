"""What fast decoding costs: recall and precision over known edits, against exact decoding.

    python benchmarks/quality.py --size 469x393 --originals 400

Prints one line for each method: the share of edits found at each threshold, fast and exact, and how many pairs of
different pictures are within it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from photographs import EDITS, encoded, view
from PIL import Image

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.reading import Decode

THRESHOLDS = (0, 3, 8)  # bits of 64
METHODS = ("phash", "phash_simple", "dhash", "dhash_vertical", "ahash", "whash", "double_gradient", "pdq")


@dataclass(frozen=True)
class Quality:
    """What one hash finds.

    Attributes:
        recall: for each threshold, the share of edits within it of their original.
        false_pairs: for each threshold, the pairs of an original and another picture's file within it.
    """

    recall: tuple[float, ...]
    false_pairs: tuple[int, ...]


def edited_set(originals: int, width: int, height: int, seed: int = 1) -> list[list[bytes]]:
    """Files: for each original the original itself, then its edits."""
    groups = []
    for number in range(originals):
        original = view(seed, number, width, height)
        groups.append([encoded(original)] + [edit(original) for edit in EDITS.values()])
    return groups


def measure(
    groups: Sequence[Sequence[bytes]], spec: HashSpec, decode: Decode, thresholds: Sequence[int] = THRESHOLDS
) -> Quality:
    """Hashes all files and compares each original with every file."""
    result = Hasher([spec], decode).hash_batch([data for group in groups for data in group])
    assert not result.errors
    assert spec.digits is not None
    packed = bytes.fromhex("".join(text.zfill(spec.digits + spec.digits % 2) for text in result.hashes[0] if text))
    bits = np.unpackbits(np.frombuffer(packed, np.uint8).reshape(len(groups), len(groups[0]), -1), axis=2)
    distances = np.stack([(bits != bits[row, 0]).sum(axis=2) for row in range(len(groups))])
    own = np.eye(len(groups), dtype=bool)
    edits = distances[own][:, 1:]
    others = distances[~own]
    return Quality(
        tuple(float((edits <= threshold).mean()) for threshold in thresholds),
        tuple(int((others <= threshold).sum()) for threshold in thresholds),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="469x393", help="width x height of the originals, pixels")
    parser.add_argument("--originals", type=int, default=400)
    parser.add_argument("--method", nargs="*", default=METHODS)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    Image.MAX_IMAGE_PIXELS = None
    groups = edited_set(options.originals, width, height)
    print(f"{options.originals} originals of {options.size}, {len(EDITS)} edits each; thresholds {THRESHOLDS}")
    for method in options.method:
        exact, fast = (measure(groups, HashSpec(method), decode) for decode in ("exact", "fast"))
        figures = " ".join(f"{a:.4f}/{b:.4f}" for a, b in zip(exact.recall, fast.recall, strict=True))
        false = f"{exact.false_pairs} {fast.false_pairs}"
        print(f"{method:16} recall exact/fast {figures}  false pairs {false}", flush=True)


if __name__ == "__main__":
    main()
