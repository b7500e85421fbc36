"""What is around the kernels: a small run against the least that Spark can do, and the same pictures in several homes.

    python benchmarks/plumbing.py start --input demo-data/input       # the demo's 395 rows, and a minimal job on them
    python benchmarks/plumbing.py homes --pictures 10000              # Parquet, a folder, tar shards, one row group
    python benchmarks/plumbing.py listing --shards 1000               # seconds until tar shards are listed and planned

Every run is a process of its own. A round runs all cases once, so that a slow spell of the machine hits all alike;
ratios are those of medians, against the first case.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
SPARK = "--master local[2] --driver-memory 4g --conf spark.ui.enabled=false pyspark-shell"
SHARD = 1000


def seconds_of(command: list[str]) -> float:
    variables = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYSPARK_PYTHON": sys.executable}
    variables["IMGDEDUP_CLASS_ARCHIVE"] = "off"
    start = time.perf_counter()
    done = subprocess.run(command, env=variables | {"PYSPARK_SUBMIT_ARGS": SPARK}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def job(folder: Path, *options: str) -> list[str]:
    output = DATA / "output" / "plumbing"
    shutil.rmtree(output, ignore_errors=True)
    return [
        sys.executable, "-m", "imgdedup_spark.cli", "--input", str(folder), "--output", str(output),
        "--threshold", "8", "--quiet", *options,
    ]  # fmt: skip


def in_turn(cases: dict[str, list[str]], rounds: int) -> None:
    """Runs all cases in turn, and prints their medians and ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, command in cases.items():
            shutil.rmtree(DATA / "output" / "plumbing", ignore_errors=True)
            seconds[name].append(seconds_of(command))
            print(f"round {number + 1}, {name}: {seconds[name][-1]:.1f} s", flush=True)
    first = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = f"{min(values):.1f}-{max(values):.1f}"
        print(f"| {name} | {median:.1f} s | {spread} | {median / first:.2f} |")


def pictures(count: int) -> Iterator[tuple[int, bytes]]:
    made = DATA / f"small-{count}"
    if not (made / "_SUCCESS").exists():
        make = [sys.executable, str(HERE / "make_data.py"), "--output", str(made), "--only", "small"]
        subprocess.run([*make, "--small", str(count)], check=True)
        (made / "_SUCCESS").touch()
    number = 0
    for file in sorted((made / "small").glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(64, columns=["image"]):
            for value in batch.column(0):
                yield number, value.as_py()
                number += 1


def homes(count: int) -> dict[str, Path]:
    """The same pictures as Parquet, as files, as tar shards, and in one row group, as pyarrow writes them."""
    found = {"Parquet": DATA / f"small-{count}" / "small", "a folder": DATA / f"folder-{count}"}
    found["tar shards"] = DATA / f"tar-{count}"
    found["one row group"] = DATA / f"one-group-{count}"
    every = pictures(count)
    if not found["tar shards"].exists():
        found["a folder"].mkdir(parents=True, exist_ok=True)
        found["tar shards"].mkdir(parents=True)
        tar = None
        for number, data in every:
            (found["a folder"] / f"{number:07d}.jpg").write_bytes(data)
            if number % SHARD == 0:
                if tar is not None:
                    tar.close()
                tar = tarfile.open(found["tar shards"] / f"{number // SHARD:05d}.tar", "w")  # noqa: SIM115
            assert tar is not None
            info = tarfile.TarInfo(f"{number:07d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if tar is not None:
            tar.close()
    else:
        next(every)
    if not found["one row group"].exists():
        found["one row group"].mkdir()
        pq.write_table(pq.read_table(found["Parquet"]), found["one row group"] / "0.parquet")
    return found


def listing(shards: int) -> None:
    """Shards of ten small samples each: until the job knows their samples and begins to hash."""
    folder = DATA / f"shards-{shards}"
    if not folder.exists():
        folder.mkdir(parents=True)
        data = next(data for _, data in pictures(100))
        for number in range(shards):
            with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
                for sample in range(10):
                    info = tarfile.TarInfo(f"{number:05d}{sample}.jpg")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    os.environ |= {"PYSPARK_SUBMIT_ARGS": SPARK, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(HERE.parent)}
    sys.path.insert(0, str(HERE.parent))
    from pyspark.sql import SparkSession

    from imgdedup_spark.read.open import read_source

    spark = SparkSession.builder.getOrCreate()
    spark.range(2).mapInArrow(lambda batches: batches, "id bigint").count()
    for _ in range(3):
        start = time.perf_counter()
        read_source(spark, [str(folder)], "webdataset")
        print(f"{shards} shards listed and planned: {time.perf_counter() - start:.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("start", "homes", "listing"))
    parser.add_argument("--input", type=Path, default=HERE.parent / "demo-data" / "input")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.what == "start":
        minimal = [sys.executable, str(HERE / "peers" / "minimal_spark.py"), "--input", str(options.input)]
        output = ["--output", str(DATA / "output" / "minimal")]
        in_turn({"a minimal Spark job": [*minimal, *output], "this job": job(options.input)}, options.rounds)
    elif options.what == "homes":
        in_turn({name: job(folder) for name, folder in homes(options.pictures).items()}, options.rounds)
    else:
        listing(options.shards)


if __name__ == "__main__":
    main()
