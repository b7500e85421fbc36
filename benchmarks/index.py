"""A day against an index: `python benchmarks/index.py` (100,000 new 64-bit hashes, 10 million indexed, T = 8).

Times the search that `--index` runs for the new hashes against the search among all of them, both warm and through
Spark, and says whether they keep the same new hashes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from imgdedup_spark.near import Part, first_come
from imgdedup_spark.workspace import FolderWorkspace


def write(path: Path, values: np.ndarray, first: int) -> None:
    path.mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(len(values)), max(1, len(values) // 1_000_000))):
        codes = pa.array([value.tobytes() for value in values[part].astype(">u8")], pa.binary())
        empty = pa.array([b""] * len(part), pa.binary())
        columns = {"rank": part + first, "code": codes, "context": empty}
        pq.write_table(pa.table(columns), path / f"{number}.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--indexed", type=int, default=10_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    options = parser.parse_args()
    dice = np.random.default_rng(0)
    indexed = np.unique(dice.integers(0, 1 << 63, options.indexed, np.uint64))
    dice.shuffle(indexed)
    # A third of the new ones are within 8 bits of an indexed one, as the same picture saved again is.
    new = dice.integers(0, 1 << 63, options.new, np.uint64)
    third = options.new // 3
    new[:third] = indexed[:third]
    for _ in range(6):
        new[:third] ^= np.uint64(1) << dice.integers(0, 63, third).astype(np.uint64)
    new = np.setdiff1d(new, indexed)
    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.shuffle.partitions", "8")
        .getOrCreate()
    )
    parts = [Part(64, 8)]
    with tempfile.TemporaryDirectory(prefix="imgdedup-index-") as scratch:
        base = Path(scratch)
        write(base / "indexed", indexed, 0)
        write(base / "new", new, 0)
        write(base / "all", np.concatenate([indexed, new]), 0)

        def timed(name: str, items: str, references: DataFrame | None) -> tuple[float, DataFrame]:
            work = FolderWorkspace(str(base / f"work-{name}"))
            started = time.perf_counter()
            found, plan = first_come(
                spark.read.parquet(str(base / items)), parts, stage=work.stage, references=references
            )
            kept = work.stage("result", found.where("rank = keeper and not is_reference").select("rank"))
            count = kept.count()
            seconds = time.perf_counter() - started
            print(f"{name}: {seconds:.1f} s, {count:,} kept, {plan}", flush=True)
            return seconds, kept

        known = spark.read.parquet(str(base / "indexed"))
        timed("warm-up", "new", None)
        daily, kept = timed("index", "new", known)
        whole, kept_of_all = timed("all", "all", None)
        # Of 10 million random hashes some thousand are within T of each other, and an index would not hold both: the
        # few new hashes that are near one of those alone are the difference.
        of_new = kept_of_all.where(f"rank >= {len(indexed)}").count()
        print(f"new hashes kept: {kept.count():,} against the index, {of_new:,} in one run over all")
        print(f"ratio {daily / whole:.3f} ({daily:.1f} s of {whole:.1f} s)")
    spark.stop()


if __name__ == "__main__":
    main()
