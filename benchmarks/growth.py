"""Time against the number of pictures, this job and its peers; a table, the bars, and a chart on two logarithmic axes.

    pip install matplotlib
    PYTHON312=python3.12 python benchmarks/growth.py                      # an hour, and 12 GB of disk
    PYTHON312=python3.12 python benchmarks/growth.py --counts 400 2000 --rounds 1

Pictures are those of ``make_data.py`` at 0.2 megapixels (54 kB), in Parquet and as files of a folder; beyond 10,000
files the same ones come again, each time with other bytes behind their end. Every run is a process of its own, start
included. A round runs all cases of a count once, in turn; the table has medians. "Again" are runs with the archive of
classes that a first run from a terminal leaves behind; no other run has one. Counts that are not measured keep what
``results/growth.json`` has of them. immaculate needs Python 3.12 or newer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from run import DATA, HERE, RESULTS, environment

#: Pictures that are made; a folder of more has them again.
PARQUET, FOLDER = 50_000, 10_000
ENDINGS = {b"\x89P": "png", b"RI": "webp"}
ARCHIVE = DATA / "classes.jsa"
SPARK = "--master local[2] --driver-memory 4g --conf spark.ui.enabled=false pyspark-shell"
ENOUGH = (400, 2_000, 6_000, 10_000)


@dataclass(frozen=True)
class Case:
    """One way to the answer.

    Attributes:
        command: ``{python}``, ``{input}`` and ``{output}`` are filled in.
        counts: of pictures that it is measured on.
        requirements: packages of its own environment; none: this one.
        again: whether a run before has left its archive of classes.
        color: of its line; none: not in the chart.
    """

    title: str
    command: str
    counts: tuple[int, ...]
    folder: bool = False
    requirements: tuple[str, ...] = ()
    newest: bool = False
    again: bool = False
    color: str = ""
    dashed: bool = False


JOB = "{python} -m imgdedup_spark.cli --quiet --input {input} --output {output}"
PEER = "{python} PEERS/%s --input {input} --output {output}"
CASES = {
    "near": Case("this job, ≤ 8 bits, a folder", JOB + " --threshold 8", (*ENOUGH, 100_000), True, color="#1d4ed8"),
    "immaculate": Case(
        "immaculate (Rust), equal hashes, a folder", PEER % "immaculate_folder.py", (*ENOUGH, 100_000), True,
        ("immaculate",), newest=True, color="#b45309",
    ),
    "equal": Case("this job, equal hashes, Parquet", JOB, (*ENOUGH, 50_000), color="#1d4ed8", dashed=True),
    "by_hand": Case(
        "pandas_udf + dropDuplicates, Parquet", PEER % "spark_imagehash.py", (*ENOUGH, 50_000), color="#15803d"
    ),
    "daft": Case(
        "Daft (Rust), equal hashes, Parquet", PEER % "daft_image_hash.py", (*ENOUGH, 50_000),
        requirements=("daft>=0.7,<0.8",), color="#be123c",
    ),
    "near_parquet": Case("this job, ≤ 8 bits, Parquet", JOB + " --threshold 8", (400, 10_000)),
    "near_again": Case("this job again, ≤ 8 bits, a folder", JOB + " --threshold 8", (10_000,), True, again=True),
    "equal_again": Case("this job again, equal hashes, Parquet", JOB, (6_000, 50_000), again=True),
    "near_parquet_again": Case("this job again, ≤ 8 bits, Parquet", JOB + " --threshold 8", (400,), again=True),
    "minimal": Case("the least that Spark can do, Parquet", PEER % "minimal_spark.py", (400,)),
    "bare": Case("bare loop in two processes, Parquet", "{python} HERE/hashing.py loop {input}", (50_000,)),
}  # fmt: skip
#: The job's own time for its hash stage, of the runs for equal hashes.
STAGE = "hash_stage"
#: Title, how many times as long the second may take (or, if at least, the first has to) as the other, and the two.
BARS = (
    ("400 rows, against the least that Spark can do", "near_parquet", "minimal", 400, "at most 1.2"),
    ("the same, again", "near_parquet_again", "minimal", 400, "at most 1.2"),
    ("6,000 rows, written by hand against it", "by_hand", "equal", 6_000, "at least 1.4"),
    ("the same, again", "by_hand", "equal_again", 6_000, "at least 1.4"),
    ("10,000 files against the same in Parquet", "near", "near_parquet", 10_000, "at most 1.1"),
    ("10,000 files, against immaculate", "near", "immaculate", 10_000, "at most 1.6"),
    ("the same, again", "near_again", "immaculate", 10_000, "at most 1.6"),
    ("100,000 files, against immaculate", "near", "immaculate", 100_000, "below 1"),
    ("50,000 rows, Daft against it", "daft", "equal", 50_000, "at least 1.25"),
    ("the same, again", "daft", "equal_again", 50_000, "at least 1.25"),
    ("50,000 rows, the bare loop against the hash stage", "bare", STAGE, 50_000, "at least 0.93"),
)


def python_of(name: str, case: Case) -> str:
    newest = os.environ.get("PYTHON312", "python3.12")
    return environment(name, case.requirements, newest if case.newest else sys.executable)


def parquet_of(count: int) -> Path:
    """A folder of Parquet files with so many pictures: as many files of a thousand as there are in it, or cut ones."""
    made, folder = DATA / f"small-{PARQUET}", DATA / f"growth-parquet-{count}"
    if not (made / "_SUCCESS").exists():
        make = [sys.executable, str(HERE / "make_data.py"), "--output", str(made), "--only", "small"]
        subprocess.run([*make, "--small", str(PARQUET)], check=True)
        (made / "_SUCCESS").touch()
    if count == PARQUET:
        return made / "small"
    if not folder.exists():
        folder.mkdir(parents=True)
        # Two files at least, so that two readers have something to share.
        size = min(1000, count // 2)
        for number, file in enumerate(sorted((made / "small").glob("*.parquet"))[: count // size]):
            table = pq.read_table(file).slice(0, size)
            rows = max(1, size * (16 << 20) // table.nbytes)
            path = folder / f"{number:05d}.parquet"
            pq.write_table(table, path, row_group_size=rows, compression="none", use_dictionary=False)
    return folder


def folder_of(count: int) -> Path:
    """A folder with so many files."""
    folder, number = DATA / f"growth-folder-{count}", 0
    if not folder.exists():
        made = folder.with_suffix(".part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for file in sorted(parquet_of(min(count, FOLDER)).glob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(64, columns=["image"]):
                for value in batch.column(0).to_pylist():
                    ending = ENDINGS.get(value[:2], "jpg")
                    for again in range(max(1, count // FOLDER)):
                        behind = again.to_bytes(4, "big") if again else b""
                        (made / f"{again * FOLDER + number:07d}.{ending}").write_bytes(value + behind)
                    number += 1
        made.rename(folder)
    return folder


def run(name: str, count: int) -> dict[str, float]:
    """Seconds of one run, by name."""
    case, output = CASES[name], DATA / "output" / "growth"
    shutil.rmtree(output, ignore_errors=True)
    fill = {
        "{python}": python_of(name, case),
        "{input}": str(folder_of(count) if case.folder else parquet_of(count)),
        "{output}": str(output),
        "HERE": str(HERE),
        "PEERS": str(HERE / "peers"),
    }
    command = case.command
    for key, value in fill.items():
        command = command.replace(key, value)
    variables = {"PYTHONPATH": str(HERE.parent), "PYSPARK_PYTHON": sys.executable, "PYSPARK_SUBMIT_ARGS": SPARK}
    variables["IMGDEDUP_CLASS_ARCHIVE"] = str(ARCHIVE) if case.again else "off"
    if case.newest:
        del variables["PYTHONPATH"]
    start = time.perf_counter()
    done = subprocess.run(command.split(), env=os.environ | variables, capture_output=True, text=True)
    seconds = {name: time.perf_counter() - start}
    if done.returncode:
        raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    if name == "equal":
        seconds[STAGE] = json.loads((output / "summary.json").read_text())["stages"]["hash"]["seconds"]
    return seconds


def title_of(name: str) -> str:
    return CASES[name].title if name in CASES else "the hash stage of this job, equal hashes"


def table(found: dict[int, dict[str, list[float]]]) -> str:
    """Args:
    found: count → case → seconds of each round.
    """
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    counts = sorted(found)
    rounds = [str(max(map(len, found[count].values()))) for count in counts]
    lines = [
        "# Time against the number of pictures",
        "",
        "Seconds, whole processes, medians of some rounds in turn on two cores (least to most), by "
        "`benchmarks/growth.py`.",
        "",
        "| | " + " | ".join(f"{count:,}" for count in counts) + " |",
        "|---" * (len(counts) + 1) + "|",
        "| rounds | " + " | ".join(rounds) + " |",
    ]
    for name in names:
        cells = [_cell(found[count].get(name, [])) for count in counts]
        lines.append(f"| {title_of(name)} | " + " | ".join(cells) + " |")
    lines += ["", "| | ratio | bar |", "|---|---|---|"]
    for title, one, other, count, bar in BARS:
        row = found.get(count, {})
        if one in row and other in row:
            ratio = statistics.median(row[one]) / statistics.median(row[other])
            lines.append(f"| {title} | {ratio:.2f} | {bar} |")
    return "\n".join(lines) + "\n\n![time against pictures](growth.svg)\n"


def _cell(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f})" if seconds else ""


def chart(found: dict[int, dict[str, list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, case in CASES.items():
        points = [(count, statistics.median(row[name])) for count, row in sorted(found.items()) if name in row]
        if case.color and points:
            style = "--" if case.dashed else "-"
            axes.loglog(*zip(*points, strict=True), style, color=case.color, marker="o", label=case.title)
    axes.set(xlabel="pictures of 0.2 megapixels", ylabel="seconds, two cores, start to end")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(which="both", alpha=0.25)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = sorted({count for case in CASES.values() for count in case.counts})
    parser.add_argument("--counts", nargs="*", type=int, choices=every, default=every)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for count in options.counts:  # before the clock runs
        for name, case in CASES.items():
            if count in case.counts:
                python_of(name, case)
                folder_of(count) if case.folder else parquet_of(count)
    ARCHIVE.unlink(missing_ok=True)  # as a first run has it made
    make = {"IMGDEDUP_CLASS_ARCHIVE": str(ARCHIVE), "PYSPARK_SUBMIT_ARGS": SPARK, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", "imgdedup_spark.spark.class_archive"]
    if options.counts:
        subprocess.run(command, env=os.environ | make, check=True, capture_output=True)
    kept = RESULTS / "growth.json"
    found = {int(count): row for count, row in json.loads(kept.read_text()).items()} if kept.exists() else {}
    for count in options.counts:
        seconds: dict[str, list[float]] = {}
        for number in range(options.rounds):
            for name in (name for name, case in CASES.items() if count in case.counts):
                for which, value in run(name, count).items():
                    seconds.setdefault(which, []).append(round(value, 2))
                    print(f"{count:,}, round {number + 1}, {title_of(which)}: {value:.1f} s", flush=True)
        found[count] = seconds
        kept.write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "growth.md").write_text(table(found))
    chart(found, RESULTS / "growth.svg")
    print((RESULTS / "growth.md").read_text())


if __name__ == "__main__":
    main()
