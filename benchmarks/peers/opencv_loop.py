"""Peer: OpenCV's C++ decoding to grey and area resize, in two processes over the same Parquet files. No Spark.

    pip install opencv-python-headless pyarrow numpy

A hash is only 2% of such a loop, so a difference hash stands for any: what is measured is reading and decoding.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIDE = 32  # pixels of the grid, as the 64-bit pHash has


def hash_share(folder: Path, share: int, shares: int) -> tuple[list[int], list[bytes]]:
    """Ids and hashes of one process's row groups."""
    cv2.setNumThreads(1)  # the processes are the parallelism
    ids: list[int] = []
    hashes: list[bytes] = []
    number = 0
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            if number % shares == share:
                table = file.read_row_group(group, columns=["id", "image"])
                ids += table["id"].to_pylist()
                grids = np.stack([_grid(scalar.as_buffer()) for scalar in table["image"]])
                bits = grids[:, :8, 1:9] > grids[:, :8, :8]
                hashes += [row.tobytes() for row in np.packbits(bits.reshape(len(grids), -1), axis=1)]
            number += 1
    return ids, hashes


def _grid(data: pa.Buffer) -> np.ndarray:
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        shares = range(options.processes)
        parts = list(pool.map(hash_share, [options.input] * len(shares), shares, [len(shares)] * len(shares)))
    ids = [number for part, _ in parts for number in part]
    hashes = [text for _, part in parts for text in part]
    options.output.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ids, "hash": hashes}), options.output / "hashes.parquet")
    seconds = time.perf_counter() - start
    print(json.dumps({"peer": "OpenCV loop", "seconds": round(seconds, 3), "pictures": len(ids)}))


if __name__ == "__main__":
    main()
