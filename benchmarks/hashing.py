"""The hash stage without Spark: the bare loop that is its ceiling, where a picture's time goes, and every kernel.

python benchmarks/hashing.py loop benchmarks/data/small             # two processes, one JSON line
python benchmarks/hashing.py parts benchmarks/data/small            # reading, decoding, resizing, hashing
python benchmarks/hashing.py kernels benchmarks/data/small          # all methods, fast and exact
python benchmarks/hashing.py memory benchmarks/data/large           # peak memory of one process
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq

from imgdedup_spark.kernels.hashes import METHODS, HashSpec
from imgdedup_spark.kernels.hashes.dct import phash
from imgdedup_spark.kernels.hashes.grids import fast_side, grid
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.decode import Picture
from imgdedup_spark.kernels.pictures.trouble import quiet


def batches(folder: Path, share: int = 0, shares: int = 1) -> Iterator[list[bytes]]:
    """One process's share of the files: every ``shares``-th row group's pictures, a row group at a time."""
    number = 0
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            if number % shares == share:
                # Buffers, not bytes: they point into the column, nothing is copied.
                column = file.read_row_group(group, columns=["image"])["image"]
                yield [scalar.as_buffer() for scalar in column]
            number += 1


def hash_share(folder: Path, share: int, shares: int, specs: Sequence[HashSpec], decode: str) -> int:
    """Hashes one process's share; returns its number of pictures."""
    hasher = Hasher(specs, decode)
    return sum(len(hasher.hash_batch(batch).hashes[0]) for batch in batches(folder, share, shares))


def loop(folder: Path, specs: Sequence[HashSpec], decode: str, processes: int) -> dict[str, object]:
    """The bare loop: what Spark can at best reach. Seconds include the processes' start and imports."""
    start = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        jobs = [pool.submit(hash_share, folder, share, processes, specs, decode) for share in range(processes)]
        pictures = sum(job.result() for job in jobs)
    seconds = time.perf_counter() - start
    return {"what": f"bare loop, {decode}", "seconds": round(seconds, 3), "pictures": pictures}


def _clock(function: Callable[[], object]) -> float:
    """Seconds of this thread's own work: other load on the machine does not count."""
    start = time.thread_time()
    function()
    return time.thread_time() - start


def parts(folder: Path, limit: int) -> dict[str, float]:
    """Milliseconds a picture of each step of the default hash (64-bit pHash, fast), on one core."""
    specs = [HashSpec("phash", 8)]
    Hasher(specs).hash_batch(next(batches(folder))[:2])  # imports

    seconds = dict.fromkeys(("read", "header", "decode", "resize", "hash", "all at once"), 0.0)
    source, count = batches(folder), 0
    kernel, side = phash(8), fast_side(32)
    while count < limit:
        start = time.thread_time()
        batch = next(source, None)
        if batch is None:
            break
        seconds["read"] += time.thread_time() - start
        batch = batch[: limit - count]
        count += len(batch)
        grids = []
        with quiet():
            for data in batch:
                start = time.thread_time()
                picture = Picture(data)
                opened = time.thread_time()
                picture.grey(side)
                decoded = time.thread_time()
                grids.append(grid(picture, 32, 32))
                seconds["resize"] += time.thread_time() - decoded
                seconds["decode"] += decoded - opened
                seconds["header"] += opened - start
        seconds["hash"] += _clock(lambda grids=grids: kernel.hashes(grids))
        seconds["all at once"] += _clock(lambda batch=batch: Hasher(specs).hash_batch(batch))
    return {name: round(1000 * value / count, 4) for name, value in seconds.items()}


def kernels(folder: Path, limit: int) -> Iterator[dict[str, object]]:
    """Milliseconds a picture of every method, decoding included, on one core."""
    pictures = [data for _, batch in zip(range(1 + limit // 100), batches(folder), strict=False) for data in batch]
    pictures = pictures[:limit]
    for method in METHODS:
        row: dict[str, object] = {"method": method}
        for decode in ("fast", "exact"):
            hasher = Hasher([HashSpec(method)], decode)
            hasher.hash_batch(pictures[:2])
            taken = min(_clock(lambda hasher=hasher: hasher.hash_batch(pictures)) for _ in range(3))
            row[decode] = round(1000 * taken / len(pictures), 3)
        yield row


def memory(folder: Path, specs: Sequence[HashSpec], decode: str) -> dict[str, object]:
    """Peak memory of one process that hashes everything, in MB; row groups of 16 MB included."""
    pictures = hash_share(folder, 0, 1, specs, decode)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"what": f"peak memory, {decode}", "megabytes": round(peak), "pictures": pictures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("loop", "parts", "kernels", "memory"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--decode", choices=("fast", "exact"), default="fast")
    parser.add_argument("--method", nargs="*", default=["phash"])
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, default=400, help="pictures, for parts and kernels")
    options = parser.parse_args()
    specs = [HashSpec(method, options.size) for method in options.method]
    match options.what:
        case "loop":
            print(json.dumps(loop(options.folder, specs, options.decode, options.processes)))
        case "parts":
            print(json.dumps(parts(options.folder, options.limit)))
        case "kernels":
            for row in kernels(options.folder, options.limit):
                print(json.dumps(row), flush=True)
        case "memory":
            print(json.dumps(memory(options.folder, specs, options.decode)))


if __name__ == "__main__":
    main()
