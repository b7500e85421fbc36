"""Peer: imagededup's pHash and its search for equal hashes.

    pip install imagededup pyarrow

It works on a folder of image files with one process for each core: the folder is written first, outside the
measured time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(options.input.glob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(batch_size=64, columns=["id", "image"]):
                for number, data in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    ending = {b"\x89P": "png", b"RI": "webp"}.get(data[:2], "jpg")
                    Path(folder, f"{number:08d}.{ending}").write_bytes(data)
        start = time.perf_counter()

        from imagededup.methods import PHash

        hasher = PHash(verbose=False)
        hashes = hasher.encode_images(folder)
        dropped = hasher.find_duplicates_to_remove(encoding_map=hashes, max_distance_threshold=0)
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "dropped.json").write_text(json.dumps(sorted(dropped)))
        seconds = time.perf_counter() - start
    kept = len(hashes) - len(dropped)
    print(json.dumps({"peer": "imagededup", "seconds": round(seconds, 3), "pictures": len(hashes), "kept": kept}))


if __name__ == "__main__":
    main()
