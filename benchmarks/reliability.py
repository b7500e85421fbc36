"""Runs the job on pictures that kill, bombs and mutilated files, and writes the figures into docs/reliability.md.

python benchmarks/reliability.py               # some ten minutes, 20 GB of disk; needs what make setup installs
python benchmarks/reliability.py --mutilated 100
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from photographs import view
from PIL import Image

from imgdedup_spark.files.parquet_column import ColumnReader
from imgdedup_spark.hash.faults import PictureHasher
from imgdedup_spark.hash.freed import keep_freed_memory
from imgdedup_spark.hash.isolated import Isolated
from imgdedup_spark.hash.worker import HashPictures
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.read.source import PLACE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "killers"))
from bombs import BOMBS
from killers import killer

ROOT = Path(__file__).resolve().parents[1]
KILLERS = ROOT / "tests" / "killers"
DOCS = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: benchmarks/reliability.py -->\n", "<!-- end of figures -->\n"
#: Five kinds, four of each: the ones that end a process, the one that never ends, the one that eats memory.
KINDS = ("abort", "segfault", "exit", "spin", "eat")
FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA", "DDS", "QOI", "SGI", "PCX",
    "ICNS",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """Of a run of the whole job.

    Attributes:
        hashed: pictures with a hash.
        errors: code → pictures.
        megabytes: the most that one worker took, with the process that decodes for it.
        driver: the most that the driver took, with its JVM.
    """

    rows: int
    hashed: int
    errors: dict[str, int]
    seconds: float
    megabytes: int
    driver: int

    def line(self, name: str) -> str:
        errors = ", ".join(f"{count} `{code}`" for code, count in sorted(self.errors.items()))
        figures = [self.rows, self.hashed, errors, f"{self.seconds:.0f} s", f"{self.megabytes} MB", f"{self.driver} MB"]
        return f"| {name} | {' | '.join(map(str, figures))} |"


def run(pictures: Sequence[bytes]) -> Outcome:
    """The job on one Parquet file of them, in row groups as large as pyarrow has them, with default options."""
    with tempfile.TemporaryDirectory() as folder:
        names = pa.array([f"{number}" for number in range(len(pictures))])
        # An array holds 2 GB at most.
        images = pa.chunked_array([pictures[at : at + 1024] for at in range(0, len(pictures), 1024)], pa.binary())
        pq.write_table(pa.table({"name": names, "image": images}), f"{folder}/in.parquet")
        del images
        path = os.pathsep.join([str(KILLERS), str(ROOT)])
        command = [sys.executable, "-m", "imgdedup_spark.cli", "--input", "in.parquet", "--output", "out", "--on-error",
                   "keep"]  # fmt: skip
        begun = time.monotonic()
        with subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}) as job:
            megabytes, driver = _most_memory(job)
        assert job.returncode == 0
        seconds = time.monotonic() - begun
        errors = pq.read_table(f"{folder}/out/errors").to_pylist()
        hashes = pq.read_table(f"{folder}/out/hashes").to_pylist()
        rows = json.loads(Path(folder, "out", "summary.json").read_text())["rows_in"]
        codes = Counter(one["error"] for one in errors if one["level"] == "error")
        hashed = sum(one["imagehash"] is not None for one in hashes)
        return Outcome(rows, hashed, dict(codes), seconds, megabytes, driver)


def _most_memory(job: subprocess.Popen[bytes]) -> tuple[int, int]:
    """MB of the largest worker while a job runs, its helper's included and shared memory counted once; and of the
    driver, its JVM's included."""
    most = [0, 0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            parents, children = dict(_processes()), defaultdict(list)
            for pid, parent in parents.items():
                children[parent].append(pid)
            todo, mine = [job.pid], []
            while todo:
                pid = todo.pop()
                mine.append(pid)
                todo += children[pid]
            most[1] = max(most[1], sum(map(_proportional, [pid for pid in mine if pid == job.pid or _is_java(pid)])))
            python = [pid for pid in mine if _name(pid).startswith("python")]
            # Spark's daemon, which the JVM starts, is no worker: its children are.
            for pid in (pid for pid in python if pid != job.pid and not _is_java(parents[pid])):
                if _is_java(parents.get(parents[pid], 0)):
                    most[0] = max(most[0], sum(map(_proportional, [pid, *children[pid]])))

    watching = threading.Thread(target=watch)
    watching.start()
    job.wait()
    done.set()
    watching.join()
    return most[0] >> 20, most[1] >> 20


def _processes() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(entry.parent.name), int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _is_java(pid: int) -> bool:
    return _name(pid).startswith("java")


def _proportional(pid: int) -> int:
    """Bytes of memory of a process; of what it shares, its part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def encoded(picture: Image.Image, format_: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format_)
    return stream.getvalue()


def killers_run() -> Outcome:
    good = [encoded(view(1, number, 400, 300), "JPEG") for number in range(500)]
    bad = [killer(good[0], kind, number) for number in range(4) for kind in KINDS]
    for number, one in enumerate(bad):
        good.insert(26 * number, one)
    return run(good)


def bombs_run() -> Outcome:
    photograph = encoded(view(2, 0, 4000, 3000), "JPEG")
    cut = [photograph[: len(photograph) // 2 + number] for number in range(64)]
    return run([*(make() for make, _ in BOMBS.values()), *cut])


def photographs_run() -> Outcome:
    """Of 3,000 pictures; with other bytes at their ends, so that each is decoded."""
    some = [encoded(view(5, number, 4000, 3000), "JPEG") for number in range(50)]
    return run([some[number % len(some)] + b"%d" % number for number in range(3000)])


def mutilated(count: int) -> list[str]:
    """So many of each format: cut, with bytes changed, with a piece taken out or doubled."""
    chance = random.Random(0)
    work = Isolated(Hasher([HashSpec()]))
    lines = []
    for format_ in FORMATS:
        whole = encoded(view(3, 0, 256, 256), format_)
        codes: Counter[str] = Counter()
        slowest = 0.0
        for _ in range(count):
            begun = time.monotonic()
            errors = work.hash_batch([_mutilated(whole, chance)]).errors
            slowest = max(slowest, time.monotonic() - begun)
            codes[errors[0].code if errors else "read"] += 1
        died = codes["crashed"] + codes["timeout"]
        lines.append(f"| {format_} | {count} | {codes['read']} | {died} | {slowest:.2f} s |")
    return lines


def _mutilated(whole: bytes, chance: random.Random) -> bytes:
    data = bytearray(whole)
    place = chance.randrange(len(data))
    how = chance.randrange(4)
    if how == 0:
        del data[place:]
    elif how == 1:
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif how == 2:
        del data[place : place + chance.randrange(1, 200)]
    else:
        data[place:place] = data[place : place + chance.randrange(1, 200)]
    return bytes(data)


def cost(rounds: int = 60) -> float:
    """Seconds of a worker's part of the hash stage with a helper to those without it: median of pairs. Freed memory
    stays with both."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        file, images = Path(folder) / "pictures.parquet", [encoded(view(4, n, 480, 400), "JPEG") for n in range(256)]
        pq.write_table(pa.table({"image": images}), file, row_group_size=128)
        place = pa.array([{"file": file.as_uri(), "row": row} for row in range(len(images))])
        batch = pa.RecordBatch.from_arrays([place], [PLACE])
        hasher = Hasher([HashSpec()])

        def seconds(one: PictureHasher) -> float:
            reader = PictureReader(PathRules((folder,), False, ()))
            work = HashPictures(one, reader, column=ColumnReader("image"))
            begun = time.perf_counter()
            list(work(iter([batch])))
            return time.perf_counter() - begun

        helper = Isolated(hasher)
        seconds(hasher), seconds(helper)
        pairs = []
        for number in range(rounds):
            both = {one: seconds(one) for one in ((hasher, helper) if number % 2 else (helper, hasher))}
            pairs.append(both[helper] / both[hasher])
        return statistics.median(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mutilated", type=int, default=500, help="files of each format")
    count = parser.parse_args().mutilated
    head = (
        "| one file of | rows | hashed | entries in `errors/` | time | largest worker | driver |\n" + 7 * "|---" + "|"
    )
    figures = [
        head,
        killers_run().line("500 photographs and 20 that kill, of five kinds"),
        bombs_run().line(f"{len(BOMBS)} bombs and 64 photographs of 12 megapixels that are cut"),
        photographs_run().line("3,000 photographs of 12 megapixels in one row group"),
        "",
        f"The process that decodes costs a worker {100 * (cost() - 1):+.1f}% of its part of the hash stage: reading "
        "Parquet, decoding, hashing (256 JPEG files of 480×400, median of 60 pairs).",
        "",
        "| mutilated | tried | read all the same | died or hung | slowest |\n|---|---|---|---|---|",
        *mutilated(count),
    ]
    before, _, rest = DOCS.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCS.write_text(before + BEGIN + "\n".join(figures) + "\n" + END + after, "utf-8")
    print("\n".join(figures))


if __name__ == "__main__":
    main()
