"""Makes the pictures that the benchmarks read: distinct ones, at three sizes, as Parquet with ``id`` and ``image``.

    python benchmarks/make_data.py                                    # benchmarks/data/{small,medium,large}
    python benchmarks/make_data.py --only small --small 50000 --output /tmp/pictures

Seeded: the same options make the same files. About 25 ms a small picture and 400 ms a large one, on each core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from photographs import encoded, view

SCHEMA = pa.schema([("id", pa.int64()), ("image", pa.binary())])

# Row groups are what readers share out among themselves; 16 MB gives each of a few cores several even of the
# smallest set.
ROW_GROUP_BYTES = 16 << 20
FILE_PICTURES = 1000


@dataclass(frozen=True)
class Size:
    """One of the three sets.

    Attributes:
        width: pixels; every picture's own is up to a quarter smaller, for few data sets have but one size.
        height: likewise.
        quality: of JPEG and WebP files; large photographs are usually compressed more.
        webp: share of the pictures.
        png: share of the pictures; none of the large ones, whose 25 MB each would be all that is measured.
        count: pictures, unless told otherwise.
    """

    width: int
    height: int
    quality: int
    webp: float
    png: float
    count: int


SIZES = {
    "small": Size(500, 420, 88, 0.05, 0.03, 10_000),  # about 0.2 megapixels on average
    "medium": Size(1240, 930, 85, 0.04, 0.02, 2_000),  # 1
    "large": Size(4300, 3225, 80, 0.03, 0.0, 300),  # 12
}


def picture(size: Size, seed: int, number: int) -> bytes:
    """The file with that number."""
    random = np.random.default_rng([seed, number, 1])
    width, height = (round(side * random.uniform(0.75, 1.1)) for side in (size.width, size.height))
    if random.random() < 0.2:  # held upright
        width, height = height, width
    kind = random.random()
    file_format = "WEBP" if kind < size.webp else "PNG" if kind < size.webp + size.png else "JPEG"
    return encoded(view(seed, number, width, height), file_format, size.quality)


def write_part(name: str, seed: int, first: int, last: int, path: Path) -> int:
    """Writes the pictures from ``first`` to before ``last``; returns the file's bytes."""
    with pq.ParquetWriter(path, SCHEMA, compression="none", use_dictionary=False) as writer:
        for group in _row_groups(SIZES[name], seed, first, last):
            writer.write_table(group, row_group_size=len(group))
    return path.stat().st_size


def _row_groups(size: Size, seed: int, first: int, last: int) -> Iterator[pa.Table]:
    ids: list[int] = []
    images: list[bytes] = []
    for number in range(first, last):
        ids.append(number)
        images.append(picture(size, seed, number))
        if sum(map(len, images)) >= ROW_GROUP_BYTES or number == last - 1:
            yield pa.table({"id": ids, "image": images}, SCHEMA)
            ids, images = [], []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--only", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=None)
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size.count, help="pictures")
    options = parser.parse_args()

    jobs = []
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.only:
            folder = options.output / name
            folder.mkdir(parents=True, exist_ok=True)
            count = getattr(options, name)
            # Several files even for few pictures, so that two readers have something to share.
            step = min(FILE_PICTURES, -(-count // 4))
            for part, first in enumerate(range(0, count, step)):
                path = folder / f"part-{part:05d}.parquet"
                last = min(first + step, count)
                jobs.append((name, pool.submit(write_part, name, options.seed, first, last, path)))
        for name in options.only:
            size = sum(job.result() for owner, job in jobs if owner == name)
            count = getattr(options, name)
            print(
                f"{name}: {count} pictures, {size / 1e6:.0f} MB, {size / 1e3 / max(1, count):.0f} kB each", flush=True
            )


if __name__ == "__main__":
    main()
