"""What hashing once saves, and what remembering pictures costs: `python benchmarks/reuse.py FOLDER [--rounds 3]`.

FOLDER holds Parquet files with an `image` column (`benchmarks/make_data.py` makes some). Seconds are those of the hash
stage of whole jobs (`local[2]`), turn by turn: without an index; with an empty one; with one that has seen the same
files; the same pictures in files of other names; other pictures altogether, when as many are remembered as can be.
Results go to results/reuse.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from index import submit  # noqa: E402

from imgdedup_spark.config.dedup import DedupConfig  # noqa: E402
from imgdedup_spark.hash import listing, remembered  # noqa: E402
from imgdedup_spark.hash import store as hashing  # noqa: E402

CASES = {
    "none": "no index",
    "new": "an empty index",
    "same": "the same files again",
    "moved": "the same pictures in other files",
    "full": "an index that remembers all it can, of other pictures",
}


def fill_memory(index: Path) -> int:
    """Makes an index remember as many pictures as it can; how many those are."""
    config = DedupConfig()
    count = remembered.most_pictures([config.spec])
    digests = np.random.default_rng(0).integers(0, 256, (count, remembered.DIGEST_BYTES), np.uint8)
    folder = index / hashing.PRINTS / "full"
    folder.mkdir(parents=True)
    table = {
        "digest": [row.tobytes() for row in digests],
        "imagehash": ["0123456789abcdef"] * count,
        "width": np.full(count, 640, np.int32),
        "height": np.full(count, 480, np.int32),
    }
    pq.write_table(pa.table(table), folder / "part.parquet")
    pictures = listing._signature_of_pictures(config)
    group = {"files": [], "made": time.time(), "pictures": pictures, "rows": count}
    folder.with_suffix(".json").write_text(json.dumps(group))
    return count


def measure(base: Path, data: Path, *options: object) -> tuple[float, dict[str, int]]:
    submit("dedup.py", "--input", data, "--output", base / "out", "--overwrite", *options)
    stage = json.loads((base / "out" / "summary.json").read_text())["stages"]["hash"]
    return stage["seconds"], stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory(prefix="imgdedup-reuse-") as scratch:
        base = Path(scratch)
        moved = base / "moved"
        moved.mkdir()
        for file in sorted(options.folder.glob("*.parquet")):
            shutil.copy(file, moved / f"other-{file.name}")
        known = fill_memory(base / "full")
        for number in range(options.rounds):
            index = base / f"index{number}"
            full = base / f"full{number}"
            shutil.copytree(base / "full", full)
            runs = {
                "none": (options.folder,),
                "new": (options.folder, "--index", index, "--run-id", "a"),
                "same": (options.folder, "--index", index, "--run-id", "a"),
                "moved": (moved, "--index", index, "--run-id", "b"),
                "full": (options.folder, "--index", full, "--run-id", "a"),
            }
            for case, run in runs.items():
                taken, stage = measure(base, *run)
                seconds[case].append(taken)
                print(case, stage, flush=True)
        pictures = stage["rows"]
    lines = ["# Hashing once", "", "Made by `benchmarks/reuse.py`; what was measured is said there.", ""]
    lines += [f"{pictures:,} pictures; at most {known:,} are remembered.", ""]
    lines += ["| | hash stage, s: median (least–most) |", "|---|---|"]
    for case, name in CASES.items():
        taken = seconds[case]
        lines.append(f"| {name} | {statistics.median(taken):.1f} ({min(taken):.1f}–{max(taken):.1f}) |")
    (HERE / "results" / "reuse.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
