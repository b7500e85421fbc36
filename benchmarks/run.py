"""Measures the job against the bare loop and its peers, several times in turn; writes a table and a chart.

    python benchmarks/run.py                              # makes the data first; results in benchmarks/results/
    python benchmarks/run.py --sizes small --rounds 5 --cases job bare_fast opencv
    python benchmarks/run.py --scale 5                    # 50,000 small pictures: runs of a minute and more

Every case is a process of its own, JVM start and imports included. A round runs all cases once, so that a slow spell
of the machine hits all alike; the table shows medians. Peers are installed into environments of their own, once.
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
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from make_data import SIZES

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        title: for the table.
        command: what to run; ``{python}``, ``{input}`` and ``{output}`` are filled in.
        requirements: packages of its own environment; none: this one.
        cores: what Spark may use, where it is Spark.
    """

    title: str
    command: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    cores: int = 2


def _job(*options: str) -> tuple[str, ...]:
    return ("{python}", "-m", "imgdedup_spark.cli", "--input", "{input}", "--output", "{output}", *options)


def _bare(decode: str) -> tuple[str, ...]:
    return ("{python}", str(HERE / "hashing.py"), "loop", "{input}", "--decode", decode)


def _peer(script: str) -> tuple[str, ...]:
    return ("{python}", str(HERE / "peers" / script), "--input", "{input}", "--output", "{output}")


CASES = {
    "job": Case("this job, local[2]", _job()),
    "job_1": Case("this job, local[1]", _job(), cores=1),
    "job_exact": Case("this job, --decode exact", _job("--decode", "exact")),
    "bare_fast": Case("bare loop, fast, 2 processes", _bare("fast")),
    "bare_exact": Case("bare loop, exact, 2 processes", _bare("exact")),
    "opencv": Case("OpenCV loop, 2 processes", _peer("opencv_loop.py"), ("opencv-python-headless", "pyarrow", "numpy")),
    "by_hand": Case("pandas_udf + dropDuplicates", _peer("spark_imagehash.py")),
    "daft": Case("Daft image_hash", _peer("daft_image_hash.py"), ("daft>=0.7,<0.8",)),
    # Brings PyTorch along (gigabytes), so it runs only when it is named.
    "imagededup": Case("imagededup PHash", _peer("imagededup_phash.py"), ("imagededup", "pyarrow")),
}
#: The job's own time for its hash stage, beside the bare loop's whole time.
HASH_STAGE = "job_hash_stage"
TITLES = {HASH_STAGE: "the job's hash stage", **{name: case.title for name, case in CASES.items()}}
BY_DEFAULT = tuple(name for name in CASES if name != "imagededup")


def environment(name: str, requirements: Sequence[str], made_by: str = sys.executable) -> str:
    """The interpreter of a peer's environment, which is made if it is not there."""
    if not requirements:
        return sys.executable
    folder = DATA / "environments" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([made_by, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / "ready").touch()
    return str(python)


def run(name: str, folder: Path) -> dict[str, float]:
    """Seconds of one run, by name. A peer that prints its own seconds has prepared something that is not to be
    counted."""
    case = CASES[name]
    output = DATA / "output" / name
    shutil.rmtree(output, ignore_errors=True)
    fill = {
        "python": environment(name, case.requirements),
        "input": str(folder),
        "output": str(output),
    }
    command = [part.format(**fill) for part in case.command]
    paths = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    spark = f"--master local[{case.cores}] --driver-memory 4g --conf spark.ui.enabled=false pyspark-shell"
    variables = {**os.environ, "PYTHONPATH": paths, "PYSPARK_PYTHON": fill["python"], "PYSPARK_SUBMIT_ARGS": spark}
    variables["IMGDEDUP_CLASS_ARCHIVE"] = "off"
    start = time.perf_counter()
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{name}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    last = done.stdout.strip().splitlines()[-1:]
    if name == "imagededup" and last:
        seconds = json.loads(last[0])["seconds"]
    measured = {name: seconds}
    if name == "job":
        measured[HASH_STAGE] = json.loads((output / "summary.json").read_text())["stages"]["hash"]["seconds"]
    shutil.rmtree(output, ignore_errors=True)
    return measured


def table(size: str, pictures: int, seconds: dict[str, list[float]]) -> str:
    """Markdown: medians, spread, and how many times as fast as each other the job is."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    lines = [
        f"### {size}: {pictures:,} pictures, median of {max(map(len, seconds.values()))} runs",
        "",
        "| | seconds | min-max | pictures/s | the job's speed against it |",
        "|---|---|---|---|---|",
    ]
    for name, median in medians.items():
        ratio = f"{median / medians['job']:.2f}x" if "job" in medians else ""
        spread = f"{min(seconds[name]):.1f}-{max(seconds[name]):.1f}"
        lines.append(f"| {TITLES[name]} | {median:.1f} | {spread} | {pictures / median:,.0f} | {ratio} |")
    return "\n".join(lines) + "\n"


def chart(results: dict[str, dict[str, list[float]]], counts: dict[str, int]) -> str:
    """Bars of pictures a second, one group for each size, as an SVG document."""
    row, left, width = 22, 230, 420
    body: list[str] = []
    y = 10
    for size, seconds in results.items():
        speeds = {name: counts[size] / statistics.median(values) for name, values in seconds.items()}
        y += 20
        body.append(f'<text x="10" y="{y}" font-weight="bold">{escape(size)}, pictures a second</text>')
        y += 8
        for name, speed in speeds.items():
            bar = width * speed / max(speeds.values())
            color = "#2b6cb0" if name.startswith("job") else "#a0aec0"
            body.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(TITLES[name])}</text>')
            body.append(f'<rect x="{left}" y="{y + 2}" width="{bar:.1f}" height="{row - 6}" fill="{color}"/>')
            body.append(f'<text x="{left + bar + 6:.1f}" y="{y + 14}">{speed:,.0f}</text>')
            y += row
    size_of_page = f'width="{left + width + 70}" height="{y + 10}"'
    style = 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size_of_page} {style}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(BY_DEFAULT))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="times the usual number of pictures")
    options = parser.parse_args()

    counts = {size: round(SIZES[size].count * options.scale) for size in options.sizes}
    folders = {size: DATA / f"{size}-{counts[size]}" for size in options.sizes}
    for size, folder in folders.items():
        if not (folder / "_SUCCESS").exists():
            make = [sys.executable, str(HERE / "make_data.py"), "--output", str(folder), "--only", size]
            subprocess.run([*make, f"--{size}", str(counts[size])], check=True)
            (folder / "_SUCCESS").touch()

    # Sizes that are not measured this time keep what they had.
    earlier = json.loads((RESULTS / "hashing.json").read_text()) if (RESULTS / "hashing.json").exists() else {}
    results: dict[str, dict[str, list[float]]] = {**earlier.get("seconds", {}), **{size: {} for size in options.sizes}}
    counts = {**earlier.get("pictures", {}), **counts}
    for size in options.sizes:
        for number in range(options.rounds):
            for name in options.cases:
                for what, seconds in run(name, folders[size] / size).items():
                    results[size].setdefault(what, []).append(seconds)
                    print(f"{size} round {number + 1} {what}: {seconds:.1f} s", flush=True)

    RESULTS.mkdir(exist_ok=True)
    text = "\n".join(table(size, counts[size], results[size]) for size in results)
    (RESULTS / "hashing.md").write_text(text)
    (RESULTS / "hashing.svg").write_text(chart(results, counts))
    (RESULTS / "hashing.json").write_text(json.dumps({"pictures": counts, "seconds": results}, indent=1) + "\n")
    print("\n" + text)


if __name__ == "__main__":
    main()
