"""Hashing now against hashing as it was: the same pictures in two processes, in turn.

    python benchmarks/against.py v0.1.0                       # a revision of this repository
    python benchmarks/against.py v0.1.0 --methods dhash pdq --rounds 200

Each process hashes JPEG files of 0.35 megapixels, 40 at a time, as a worker's helper does. Processor time a picture,
medians; the ratio is the median of those of neighbouring turns, which tells differences of 1% where whole runs of the
job differ by 5%.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from photographs import encoded, view

HERE = Path(__file__).resolve().parent
PICTURES, SIZE = 40, (683, 512)
WORK = """
import pickle, sys, time
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
try:
    from imgdedup_spark.hash.freed import keep_freed_memory
    keep_freed_memory()
except ImportError:
    pass
hasher = Hasher([HashSpec(sys.argv[1])])
with open(sys.argv[2], "rb") as stream:
    batch = [memoryview(one) for one in pickle.load(stream)]
hasher.hash_batch(batch)
for _ in sys.stdin:
    begun = time.process_time()
    hasher.hash_batch(batch)
    print((time.process_time() - begun) / len(batch) * 1e6, flush=True)
"""


def start(root: Path, method: str, batch: Path, folder: Path) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORK, method, str(batch)]
    # In a folder of no checkout, whose package would come first.
    return subprocess.Popen(
        command, cwd=folder, env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def turn(process: subprocess.Popen[str]) -> float:
    """Microseconds a picture."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("revision")
    parser.add_argument("--methods", nargs="+", default=["phash", "dhash", "pdq", "pixels"])
    parser.add_argument("--rounds", type=int, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = folder / "before"
        subprocess.run(["git", "worktree", "add", "--detach", before, options.revision], cwd=HERE, check=True)
        try:
            batch = [encoded(view(0, number, *SIZE)) for number in range(PICTURES)]
            (folder / "batch").write_bytes(pickle.dumps(batch))
            print("| method | then, µs a picture | now | now / then |\n|---|---|---|---|")
            for method in options.methods:
                two = [start(root, method, folder / "batch", folder) for root in (before, HERE.parent)]
                taken: list[list[float]] = [[], []]
                for number in range(options.rounds):
                    for which in (0, 1) if number % 2 else (1, 0):
                        taken[which].append(turn(two[which]))
                for process in two:
                    process.kill()
                    process.wait()
                ratio = statistics.median(now / then for then, now in zip(*taken, strict=True))
                then, now = map(statistics.median, taken)
                print(f"| {method} | {then:,.0f} | {now:,.0f} | {ratio:.3f} |", flush=True)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], cwd=HERE, check=True)


if __name__ == "__main__":
    main()
