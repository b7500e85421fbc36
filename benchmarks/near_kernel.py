"""The costs that the planner weighs (``kernels/hamming/bands.py``), measured on one core in CPU seconds; no Spark.

python benchmarks/near_kernel.py
"""

from __future__ import annotations

import time
from typing import Any

import near_data
import numpy as np

from imgdedup_spark.kernels.hamming.bands import make_plan
from imgdedup_spark.kernels.hamming.bits import permute_bits
from imgdedup_spark.kernels.hamming.first_come import first_come_rule
from imgdedup_spark.kernels.hamming.parts import Part, pack_codes
from imgdedup_spark.kernels.hamming.table import Matcher, choose_filter_words, earliest_neighbours


def measure(hashes: np.ndarray[Any, Any], threshold: int, k: int | None) -> str:
    """One line: the plan, its estimate, and the CPU seconds of the search and of the decisions."""
    count, part = len(hashes), Part(8 * hashes.shape[1], threshold)
    sample = pack_codes(hashes[:8192], (part,))[0]
    plan = make_plan(sample, part.bits, threshold, hashes=count, pairs=count**2 / 2, force_k=k)
    filter_words = choose_filter_words(permute_bits(sample, plan.order), plan, part.words)
    matcher = Matcher((part,), 0, plan, False, filter_words)
    table = matcher.pack(hashes)
    started = time.process_time()
    best = earliest_neighbours(matcher, table)
    searched = time.process_time()
    keeper, left_open = first_come_rule(matcher, table, best)
    decided = time.process_time()
    kept = int((keeper == np.arange(count)).sum())
    return (
        f"| {count:,} | {part.bits} | {threshold} | {plan.k} | {filter_words} | {plan.comparisons:.2e} | "
        f"{plan.seconds:.2f} | {searched - started:.2f} | {decided - searched:.2f} | {left_open:,} | {kept:,} |"
    )


if __name__ == "__main__":
    measure(near_data.uniform_hashes(1000, 64), 8, 2)  # loads or compiles the kernels
    print(
        "| kind | hashes | bits | T | k | filter words | comparisons | estimate | search | decide | left open | kept |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    real, uniform = near_data.real_hashes(64), near_data.uniform_hashes(10_000_000, 64)
    for k in (0, 1, 2, 3):
        print("| uniform", measure(uniform[:200_000], 8, k), flush=True)
    for k in (1, 2, 3):
        print("| uniform", measure(uniform[:1_000_000], 8, k), flush=True)
        print("| real", measure(real[:1_000_000], 8, k), flush=True)
    print("| uniform", measure(uniform, 8, 3), flush=True)
    print("| real", measure(real[:10_000_000], 8, 3), flush=True)
    for threshold in (15, 31):
        print("| real", measure(near_data.real_hashes(256)[:1_000_000], threshold, None), flush=True)
