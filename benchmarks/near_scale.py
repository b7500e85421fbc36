"""The numbers of docs/scale.md: the planner's own choice and costs for sets that no test machine holds.

python benchmarks/near_scale.py        # a Markdown table; takes seconds, needs no Spark
"""

from __future__ import annotations

import math

import numpy as np

from imgdedup_spark.kernels.hamming.bands import make_plan
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.hamming.table import Matcher
from imgdedup_spark.kernels.hamming.units import prefixes_for
from imgdedup_spark.match.by_hash.plan import NearOptions

CORES = 800
# Bytes a second that each of the 100 machines shuffles, written and read: a 10 Gbit/s network, disks alike.
SHUFFLE_RATE = 100 * 0.6e9
# Real hashes collide so much more often than uniform ones (benchmarks/results/near.md: 1.5 for k = 3).
REAL_KIND = 1.5


def row(hashes: float, bits: int, threshold: int) -> str:
    """One line of the table."""
    words = bits // 64
    sample = np.random.default_rng(0).integers(0, 1 << 64, (8192, words), dtype=np.uint64, endpoint=False)
    plan = make_plan(sample, bits, threshold, hashes=hashes, pairs=hashes**2 / 2)
    unit = NearOptions().unit_hashes
    prefixes = prefixes_for(Matcher((Part(bits, threshold),), 0, plan, False), int(hashes), unit)
    depth = len(prefixes[0])
    bucket = hashes * max(0.5 ** sum(plan.widths[band] for band in prefix) for prefix in prefixes)
    blocks = max(3, math.ceil(2 * bucket / unit)) if bucket > unit else 2
    copies = len(prefixes) * (blocks - 1)
    # Cut buckets are compared up to twice: each block meets itself in every pair.
    again = 2 * (blocks - 1) / blocks if blocks > 2 else 1.0
    compute = plan.seconds * REAL_KIND * again / CORES
    volume = copies * hashes * (8 * words + 9)
    return (
        f"| {hashes:.0e} | {bits} | {threshold} | {plan.k} | {plan.keys:,} | {depth} | {copies:,} | "
        f"{copies * hashes:.1e} | {volume / 1e12:.2f} | {plan.comparisons * REAL_KIND * again:.1e} | "
        f"{compute:,.0f} | {volume / SHUFFLE_RATE:,.0f} |"
    )


if __name__ == "__main__":
    print(
        "| hashes | bits | T | k | keys | bands routed by | copies | rows shuffled | TB | comparisons | s compare | "
        "s shuffle |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for count in (1e8, 1e9, 1e10):
        for hash_bits, within in ((64, 4), (64, 8), (256, 15), (256, 31)):
            print(row(count, hash_bits, within))
