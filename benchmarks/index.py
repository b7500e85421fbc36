"""A day against an index: 100,000 new 64-bit hashes, 10 million indexed ones, T = 8.

    python benchmarks/near_data.py 64                        # hashes of real pictures' kind, once
    python benchmarks/index.py [--kind uniform] [--rounds 3]   # results/index.json, .md; rounds add to those there

Both are the whole job, each in a process and a Spark session of its own (`local[2]`), turn by turn: the new hashes with
`--index`, and all 10.1 million without. Their hashes are ready (`--hash-col`), so that what is measured is matching
and what surrounds it. "Search" is what finds near pairs among distinct hashes and decides them (`plan.seconds` of
summary.json), "matching" the stages references, match and keep. Recall is told by brute force for some of the new
hashes.
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
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import near_data  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

RESULTS = HERE / "results"
THRESHOLD = 8
# Of the new hashes; each is compared with all indexed ones, a second for some 60.
CHECKED = 500
READY = ("--hash-col", "h", "--id-col", "id")
MATCHING = ("references", "match", "keep")


def write(folder: Path, hashes: np.ndarray[Any, Any], first_id: int) -> None:
    """``id`` and ``h`` (binary), in files of up to two million rows."""
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, len(hashes), 2_000_000)):
        part = np.ascontiguousarray(hashes[start : start + 2_000_000])
        kind = pa.binary(part.shape[1])
        column = pa.FixedSizeBinaryArray.from_buffers(kind, len(part), [None, pa.py_buffer(part)]).cast(pa.binary())
        ids = pa.array(np.arange(start, start + len(part)) + first_id)
        pq.write_table(pa.table({"id": ids, "h": column}), folder / f"{number}.parquet")


def submit(program: str, *options: object) -> float:
    """Runs one of ``jobs/``; seconds from start to end."""
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", "--driver-memory", "4g"]
    command += ["--conf", "spark.ui.enabled=false", "--conf", "spark.log.level=ERROR"]
    command += [str(HERE.parent / "jobs" / program), *map(str, options)]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(HERE.parent)}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return time.perf_counter() - started


def measure(out: Path, *options: object) -> dict[str, Any]:
    seconds = submit("dedup.py", *READY, "--threshold", THRESHOLD, "--output", out, "--overwrite", *options)
    summary = json.loads((out / "summary.json").read_text())
    stages = {name: stage["seconds"] for name, stage in summary["stages"].items()}
    return {
        "search": summary["plan"]["seconds"],
        "matching": round(sum(stages.get(name, 0) for name in MATCHING), 1),
        "job": round(seconds, 1),
        "stages": stages,
        "plan": summary["plan"],
        "rows_kept": summary["rows_kept"],
    }


def check_recall(out: Path, indexed: np.ndarray[Any, Any], new: np.ndarray[Any, Any]) -> dict[str, int]:
    """Of some new hashes: how many have an indexed one within T, and how many of those the job has found."""
    dropped = pq.read_table(out / "duplicates", columns=["id", "reason"]).to_pylist()
    found = {row["id"] for row in dropped if row["reason"] == "in_index"}
    table = indexed.view(np.uint64).ravel()
    chosen = np.random.default_rng(0).choice(len(new), min(CHECKED, len(new)), replace=False)
    near = {int(row) for row in chosen if (np.bitwise_count(table ^ new[row].view(np.uint64)[0]) <= THRESHOLD).any()}
    wrong = len((found & set(chosen.tolist())) - near)
    return {"checked": len(chosen), "near": len(near), "found": len(near & found), "wrong": wrong}


def render(results: dict[str, Any]) -> str:
    lines = ["# A day against an index", "", "Made by `benchmarks/index.py`; what was measured is said there.", ""]
    lines += [
        "Medians of the rounds (least–most); the bar is a ratio of at most 0.1 for matching and a recall of 100%.",
        "",
    ]
    lines += ["| hashes | | new against the index, s | all at once, s | ratio |", "|---|---|---|---|---|"]
    for kind, result in results.items():
        for what in ("search", "matching", "job"):
            sides = [[one[side][what] for one in result["rounds"]] for side in ("day", "all")]
            shown = [f"{statistics.median(side)} ({min(side)}–{max(side)})" for side in sides]
            ratio = statistics.median(day / whole for day, whole in zip(*sides, strict=True))
            lines.append(f"| {kind} | {what} | {shown[0]} | {shown[1]} | {ratio:.3f} |")
    lines += ["", "| hashes | indexed | new | rounds | checked | near | found | falsely found | plan of the day |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for kind, result in results.items():
        recall, rounds = result["recall"], result["rounds"]
        plan = ", ".join(f"{name} {rounds[-1]['day']['plan'][name]}" for name in ("path", "k", "keys"))
        lines.append(
            f"| {kind} | {result['indexed']:,} | {result['new']:,} | {len(rounds)} | {recall['checked']} | "
            f"{recall['near']} | {recall['found']} | {recall['wrong']} | {plan} |"
        )
    lines += ["", "| hashes | stage | day, s | all, s |", "|---|---|---|---|"]
    for kind, result in results.items():
        for stage in ("read", "references", "hash", "match", "keep", "write", "index"):
            sides = [[one[side]["stages"].get(stage, 0) for one in result["rounds"]] for side in ("day", "all")]
            lines.append(
                f"| {kind} | {stage} | {statistics.median(sides[0]):.1f} | {statistics.median(sides[1]):.1f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["real", "uniform"], default="real")
    parser.add_argument("--indexed", type=int, default=10_000_000)
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = options.indexed + options.new
    hashes = near_data.real_hashes(64)[:count] if options.kind == "real" else near_data.uniform_hashes(count, 64)
    indexed, new = hashes[: options.indexed], hashes[options.indexed :]
    if options.kind == "uniform":
        # A third is within 6 bits of an indexed one, as a picture saved again is; the others have no twin.
        new = new.copy()
        flips = np.random.default_rng(2).integers(0, 64, (6, len(new) // 3)).astype(np.uint64)
        bits = np.bitwise_xor.reduce(np.uint64(1) << flips, axis=0)
        new[: len(bits)] = (indexed[: len(bits)].copy().view(np.uint64).ravel() ^ bits).view(np.uint8).reshape(-1, 8)
    data = near_data.DATA / f"index-{options.kind}-{options.indexed}-{options.new}"
    if not (data / "index" / "manifests").exists():
        shutil.rmtree(data, ignore_errors=True)
        write(data / "indexed", indexed, options.new)
        write(data / "new", new, 0)
        seconds = submit(
            "fingerprint.py", *READY, "--input", data / "indexed", "--index", data / "index", "--run-id", "before"
        )
        print(f"index made in {seconds:.1f} s", flush=True)
    store = RESULTS / "index.json"
    results = json.loads(store.read_text()) if store.exists() else {}
    result = results.setdefault(options.kind, {"rounds": []})
    result |= {"indexed": len(indexed), "new": len(new)}
    # The same run again is compared with the index as it was without it.
    daily = ("--input", data / "new", "--index", data / "index", "--run-id", "day")
    # Not counted: the first run after a change or an installation compiles the search.
    measure(data / "out-day", *daily)
    for _ in range(options.rounds):
        day = measure(data / "out-day", *daily)
        print("day:", json.dumps(day), flush=True)
        if "recall" not in result:
            result["recall"] = check_recall(data / "out-day", indexed, new)
            print(result["recall"], flush=True)
        whole = measure(data / "out-all", "--input", data / "indexed", data / "new")
        print("all:", json.dumps(whole), flush=True)
        result["rounds"].append({"day": day, "all": whole})
        store.write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "index.md").write_text(render(results))
    print(render(results))


if __name__ == "__main__":
    main()
