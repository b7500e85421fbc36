"""Near-duplicates: the whole stage, Spark included, against faiss; growth, memory, both paths, skew, references.

    python -m venv .venv-faiss && .venv-faiss/bin/pip install faiss-cpu        # the peer, in its own environment
    python benchmarks/near_data.py                                           # the hashes, once
    FAISS_PYTHON=.venv-faiss/bin/python python benchmarks/near.py [CASE…]    # all cases, or some; results/near.md

Every case runs in a process and a Spark session of its own (``local[2]``). Seconds are those of ``first_come``
from stored
distinct hashes to stored decisions: the first call of the session (cold: Python workers start and load the compiled
kernels) and a second one (warm). Memory is the largest sum over all processes, sampled once a second: the
proportional set size, in which pages that processes share count once.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
os.environ["PYSPARK_PYTHON"] = sys.executable

import near_data  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

RESULTS = HERE / "results"
# faiss is asked for so many of the million; twice as many show that its time grows in proportion.
FLAT_QUERIES, HASH_QUERIES = (10_000, 20_000), (50_000, 100_000)


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        kind: ``real``, ``uniform``, or one of the skewed sets.
        count: hashes.
        references: how many others, already kept, they are compared with.
        checked: so many of the hashes are compared with all others, and what was decided is to be right.
    """

    kind: str
    count: int
    bits: int
    threshold: int
    path: str | None = None
    references: int = 0
    heap: str = "2g"
    calls: int = 2
    checked: int = 0


CASES = {
    "real_1m": Case("real", 1_000_000, 64, 8),
    "uniform_1m": Case("uniform", 1_000_000, 64, 8),
    "real_1m_shuffle": Case("real", 1_000_000, 64, 8, path="shuffle"),
    "real_1m_256": Case("real", 1_000_000, 256, 15),
    "uniform_1m_256": Case("uniform", 1_000_000, 256, 15),
    "real_1m_256_t31": Case("real", 1_000_000, 256, 31),
    "real_10m": Case("real", 10_000_000, 64, 8, calls=1),
    "uniform_10m": Case("uniform", 10_000_000, 64, 8, calls=1),
    "real_10m_shuffle": Case("real", 10_000_000, 64, 8, path="shuffle", calls=1),
    "real_100m": Case("real", 100_000_000, 64, 8, heap="4g", calls=1, checked=2000),
    "all_10.1m": Case("real", 10_100_000, 64, 8, calls=1),
    "new_100k_against_10m": Case("real", 100_000, 64, 8, references=10_000_000),
    "one_video_100k": Case("one_video", 100_000, 64, 8),
    "slow_video_100k": Case("slow_video", 100_000, 64, 8),
    "same_first_48_bits_300k": Case("same_first_48_bits", 300_000, 256, 15),
    "one_video_100k_shuffle": Case("one_video", 100_000, 64, 8, path="shuffle"),
    "same_first_48_bits_300k_shuffle": Case("same_first_48_bits", 300_000, 256, 15, path="shuffle"),
}


def make_hashes(kind: str, count: int, bits: int) -> np.ndarray[Any, Any]:
    """``(count, bits // 8)`` uint8, distinct."""
    if kind == "real":
        return near_data.real_hashes(bits, count)[:count]
    hashes = near_data.uniform_hashes(count, bits)
    if kind == "same_first_48_bits":
        hashes[:, :6] = hashes[0, :6]
    elif kind == "one_video":
        # All within 8 bits of one another: at most 4 bits of 64 away from one hash, which makes 679,121 of them.
        near = np.array(
            [sum(1 << b for b in chosen) for size in range(5) for chosen in itertools.combinations(range(64), size)],
            dtype=np.uint64,
        )
        near = np.random.default_rng(2).permutation(near)[:count]
        hashes = (near ^ np.uint64(0x0123456789ABCDEF)).view(np.uint8).reshape(-1, 8)
    elif kind == "slow_video":
        # Each frame two bits from the one before, so that every decision hangs on the one before it.
        steps = np.random.default_rng(3).integers(0, 64, (count, 2), dtype=np.uint64)
        flips = (np.uint64(1) << steps[:, 0]) ^ (np.uint64(1) << steps[:, 1])
        walk = np.bitwise_xor.accumulate(flips)
        _, first = np.unique(walk, return_index=True)
        hashes = walk[np.sort(first)].view(np.uint8).reshape(-1, 8)
    return hashes


def write_items(folder: Path, hashes: np.ndarray[Any, Any]) -> str:
    """The hashes as ``first_come`` takes them, in eight Parquet files."""
    folder.mkdir(parents=True)
    ranks = np.arange(len(hashes), dtype=np.int64)
    for number, part in enumerate(np.array_split(ranks, 8)):
        data = np.ascontiguousarray(hashes[part[0] : part[-1] + 1])
        code = pa.FixedSizeBinaryArray.from_buffers(pa.binary(data.shape[1]), len(data), [None, pa.py_buffer(data)])
        table = pa.table({"rank": pa.array(part), "code": code.cast(pa.binary())})
        pq.write_table(table, folder / f"{number}.parquet")
    return str(folder)


class PeakMemory:
    """Samples the proportional set size of this process and all its descendants."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(1):
            self.peak_bytes = max(self.peak_bytes, sum(map(_pss_bytes, _family(os.getpid()))))


def _family(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    family = [root]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return family


def _pss_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def run_case(name: str) -> dict[str, Any]:
    """Runs one case in this process."""
    from pyspark.sql import SparkSession

    from imgdedup_spark.kernels.hamming.parts import Part
    from imgdedup_spark.match.by_hash.first_come import Earlier, first_come
    from imgdedup_spark.match.by_hash.plan import NearOptions

    case = CASES[name]
    work = Path(tempfile.mkdtemp(prefix="near-"))
    try:
        hashes = make_hashes(case.kind, case.count + case.references, case.bits)
        paths = {"items": write_items(work / "items", hashes[: case.count])}
        if case.references:
            paths["references"] = write_items(work / "references", hashes[case.count :])
        del hashes
        with PeakMemory() as memory:
            spark = (
                SparkSession.builder.master("local[2]")
                .config("spark.driver.memory", case.heap)
                .config("spark.ui.enabled", "false")
                .config("spark.ui.showConsoleProgress", "false")
                .config("spark.sql.shuffle.partitions", "8")
                .getOrCreate()
            )
            spark.sparkContext.setLogLevel("ERROR")
            frames = {key: spark.read.parquet(path) for key, path in paths.items()}
            frames["items"].count()
            seconds, stages = [], {}
            for call in range(case.calls):

                def stage(label: str, frame: Any, call: int = call) -> Any:
                    begin = time.perf_counter()
                    frame.write.parquet(str(work / f"stage{call}" / label))
                    stages[label] = round(time.perf_counter() - begin, 2)
                    return spark.read.parquet(str(work / f"stage{call}" / label))

                started = time.perf_counter()
                decisions, plan = first_come(
                    frames["items"],
                    case.count,
                    [Part(case.bits, case.threshold)],
                    stage=stage,
                    earlier=Earlier(frames.get("references"), case.references),
                    options=NearOptions(path=case.path),
                )
                seconds.append(round(time.perf_counter() - started, 2))
            kept = decisions.where("keeper = rank and not is_reference").count()
            total = decisions.count()
            if case.checked:
                decisions.select("rank", "keeper").write.parquet(str(work / "decisions"))
            spark.stop()
        assert total == len(pq.ParquetDataset(paths["items"]).read(["rank"])), total
        return {
            "case": name, "hashes": total, "kept": kept, "cold": seconds[0], "warm": seconds[-1],
            "peak_gb": round(memory.peak_bytes / 1e9, 2), "plan": plan, "stages": stages,
            **(check(case, work / "decisions") if case.checked else {}),
        }  # fmt: skip
    finally:
        shutil.rmtree(work)


def check(case: Case, decisions: Path) -> dict[str, int]:
    """Of some of the hashes, each compared with all that are kept and come before it: how many there are, how many are
    near one, and how many of the decisions are another than to go for the first such one, or to stay without one."""
    table = pq.ParquetDataset(decisions).read()
    keeper = np.zeros(case.count, np.int64)
    keeper[table["rank"].to_numpy()] = table["keeper"].to_numpy()
    words = make_hashes(case.kind, case.count, case.bits).view(np.uint64).reshape(case.count, -1)
    kept = np.flatnonzero(keeper == np.arange(case.count))
    kept_words = words[kept]
    dropped = wrong = 0
    for rank in np.random.default_rng(5).choice(case.count, case.checked, replace=False).tolist():
        before = kept_words[: np.searchsorted(kept, rank)]
        near = np.flatnonzero(np.bitwise_count(before ^ words[rank]).sum(axis=1, dtype=np.int64) <= case.threshold)
        dropped += len(near) > 0
        wrong += bool(keeper[rank] != (kept[near[0]] if len(near) else rank))
    return {"checked": case.checked, "checked_dropped": dropped, "checked_wrong": wrong}


def run_faiss(kind: str, bits: int, threshold: int, index: str, queries: tuple[int, ...]) -> dict[str, Any] | None:
    """faiss's seconds for a million hashes, scaled up from the largest number of queries; None without faiss."""
    python = os.environ.get("FAISS_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hashes.npy"
        np.save(path, make_hashes(kind, 1_000_000, bits))
        command = [python, str(HERE / "near_faiss.py"), str(path), "1000000", str(threshold), index, *map(str, queries)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    times = {int(number): seconds for number, seconds in result["search"].items()}
    few, many = sorted(times)
    return {
        "case": f"faiss_{index}_{kind}_{bits}", "version": result["version"], "searches": times,
        "linearity": round(times[many] / times[few] / (many / few), 2),
        "seconds": round(result["build"] + times[many] * 1_000_000 / many, 1),
    }  # fmt: skip


def run_whole(rounds: int = 3) -> dict[str, Any] | None:
    """The whole job on a million ready hashes (hex, Parquet), start included, and faiss, in turn; medians."""
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder) / "hashes.parquet", Path(folder) / "out"
        pq.write_table(pa.table({"hash": [one.tobytes().hex() for one in make_hashes("real", 1_000_000, 64)]}), given)
        command = [sys.executable, "-m", "imgdedup_spark.cli", "--input", str(given), "--output", str(output)]
        command += ["--hash-col", "hash", "--threshold", "8", "--quiet", "--overwrite"]
        settings = "--master local[2] --driver-memory 4g --conf spark.ui.enabled=false pyspark-shell"
        variables = {"PYSPARK_SUBMIT_ARGS": settings, "IMGDEDUP_CLASS_ARCHIVE": "off"}
        whole, decided, peer = [], [], []
        for number in range(rounds):
            started = time.perf_counter()
            subprocess.run(command, check=True, env={**os.environ, **variables})
            whole.append(time.perf_counter() - started)
            summary = json.loads((output / "summary.json").read_text())
            decided.append(sum(summary["stages"][name]["seconds"] for name in ("match", "keep")))
            found = run_faiss("real", 64, 8, "flat", FLAT_QUERIES)
            if found is None:
                return None
            peer.append(found["seconds"])
            print(f"round {number + 1}: {whole[-1]:.1f} s, of it {decided[-1]:.1f}; faiss {peer[-1]:.0f}", flush=True)
    medians = {"whole": whole, "match_and_keep": decided, "faiss": peer}
    return {
        "case": "whole_1m", "rounds": rounds, "kept": summary["rows_kept"],
        **{name: round(statistics.median(values), 2) for name, values in medians.items()},
    }  # fmt: skip


FAISS = {
    "whole_1m": run_whole,
    "faiss_flat_real": lambda: run_faiss("real", 64, 8, "flat", FLAT_QUERIES),
    "faiss_flat_uniform": lambda: run_faiss("uniform", 64, 8, "flat", FLAT_QUERIES),
    "faiss_multihash_real": lambda: run_faiss("real", 256, 15, "multihash", HASH_QUERIES),
    "faiss_multihash_uniform": lambda: run_faiss("uniform", 256, 15, "multihash", HASH_QUERIES),
}


def evenness(bits: int) -> dict[str, Any]:
    """How far the real hashes' bands are from uniform: of contiguous bands of 8 bits, the chance that two hashes
    agree on one (times 256: 1 is uniform), and the entropy in bits (8 is uniform)."""
    hashes = near_data.real_hashes(bits)[:1_000_000]
    agree, entropy = [], []
    for byte in hashes.T:
        share = np.bincount(byte, minlength=256) / len(byte)
        agree.append(float((share**2).sum() * 256))
        entropy.append(float(-(share[share > 0] * np.log2(share[share > 0])).sum()))
    ones = np.unpackbits(hashes[:100_000], axis=1).mean(axis=0)
    return {
        "case": f"evenness_{bits}",
        "agreement_times_256": [round(min(agree), 2), round(float(np.mean(agree)), 2), round(max(agree), 2)],
        "entropy": [round(min(entropy), 2), round(float(np.mean(entropy)), 2), round(max(entropy), 2)],
        "bit_means": [round(float(ones.min()), 3), round(float(ones.max()), 3)],
    }


def main(names: list[str]) -> None:
    """Runs the cases, each in a process of its own, and writes the results."""
    RESULTS.mkdir(exist_ok=True)
    store = RESULTS / "near.json"
    results = json.loads(store.read_text()) if store.exists() else {}
    everything: dict[str, Callable[[], Any]] = {
        "evenness_64": lambda: evenness(64),
        "evenness_256": lambda: evenness(256),
        **{name: lambda name=name: _in_process(name) for name in CASES},
        **FAISS,
    }
    for name in names or everything:
        outcome = everything[name]()
        if outcome is not None:
            print(json.dumps(outcome), flush=True)
            results[name] = outcome
            store.write_text(json.dumps(results, indent=1) + "\n")
            (RESULTS / "near.md").write_text(render(results))


def render(results: dict[str, Any]) -> str:
    """The results so far as Markdown: the bars that can be told from them, then every case."""

    def seconds(name: str, key: str = "cold") -> float:
        return float(results[name][key])

    def slope() -> float:
        return math.log10(seconds("real_10m") / seconds("real_1m"))

    bars: list[tuple[str, str, tuple[str, ...], Callable[[], float]]] = [
        ("faiss flat / ours, real", "at least 20", ("real_1m", "faiss_flat_real"),
         lambda: seconds("faiss_flat_real", "seconds") / seconds("real_1m")),
        ("faiss flat / match and keep of a whole run, real", "at least 40", ("whole_1m",),
         lambda: seconds("whole_1m", "faiss") / seconds("whole_1m", "match_and_keep")),
        ("faiss flat / a whole run, real", "at least 15", ("whole_1m",),
         lambda: seconds("whole_1m", "faiss") / seconds("whole_1m", "whole")),
        ("faiss flat / ours, uniform", "", ("uniform_1m", "faiss_flat_uniform"),
         lambda: seconds("faiss_flat_uniform", "seconds") / seconds("uniform_1m")),
        ("faiss MultiHash / ours, real", "at least 6", ("real_1m_256", "faiss_multihash_real"),
         lambda: seconds("faiss_multihash_real", "seconds") / seconds("real_1m_256")),
        ("faiss MultiHash / ours, uniform", "", ("uniform_1m_256", "faiss_multihash_uniform"),
         lambda: seconds("faiss_multihash_uniform", "seconds") / seconds("uniform_1m_256")),
        ("log-log slope, 1 to 10 million", "at most 1.25", ("real_1m", "real_10m"), slope),
        ("peak GB, 10 million", "at most 6", ("real_10m",), lambda: seconds("real_10m", "peak_gb")),
        ("shuffle / broadcast", "at most 4", ("real_1m", "real_1m_shuffle"),
         lambda: seconds("real_1m_shuffle") / seconds("real_1m")),
        ("100,000 against 10 million / all 10.1 million", "at most 0.1", ("new_100k_against_10m", "all_10.1m"),
         lambda: seconds("new_100k_against_10m") / seconds("all_10.1m")),
    ]  # fmt: skip
    lines = ["# Near-duplicates", "", "Made by `benchmarks/near.py`; what was measured is said there. Cold calls.", ""]
    lines += ["| | measured | bar |", "|---|---|---|"]
    lines += [
        f"| {title} | {value():.2f} | {bar} |" for title, bar, needs, value in bars if all(n in results for n in needs)
    ]
    lines += [
        "",
        "| case | hashes | kept | path | k | cold s | warm s | peak GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        if "cold" in r:
            plan = r["plan"]
            lines.append(
                f"| {name} | {r['hashes']:,} | {r['kept']:,} | {plan['path']} | {plan['k']} | "
                f"{r['cold']} | {r['warm']} | {r['peak_gb']} |"
            )
    for name, r in results.items():
        if "checked" in r:
            said = f"{r['checked_dropped']:,} are near one; {r['checked_wrong']} of the decisions are others."
            whose = f"Of {r['checked']:,} hashes of {name}, each compared with all that are kept and come before it,"
            lines += ["", f"{whose} {said}"]
    if "whole_1m" in results:
        r = results["whole_1m"]
        lines += [
            "",
            f"A whole run of a million ready hashes, start included: {r['whole']} s, of them {r['match_and_keep']} for "
            f"match and keep; faiss, search alone: {r['faiss']} s. Medians of {r['rounds']} rounds in turn.",
        ]
    lines += ["", "| peer | queries: seconds | seconds for a million | growth, 1 is linear |", "|---|---|---|---|"]
    for name, r in results.items():
        if "searches" in r:
            timed = ", ".join(f"{queries}: {taken:.1f}" for queries, taken in r["searches"].items())
            lines.append(f"| {name} (faiss {r['version']}) | {timed} | {r['seconds']} | {r['linearity']} |")
    lines += ["", "| contiguous 8-bit bands | agreement × 256 (least, mean, most) | entropy in bits | bit means |"]
    lines += ["|---|---|---|---|"]
    for name, r in results.items():
        if "entropy" in r:
            lines.append(f"| {name} | {r['agreement_times_256']} | {r['entropy']} | {r['bit_means']} |")
    return "\n".join(lines) + "\n"


def _in_process(name: str) -> dict[str, Any]:
    output = subprocess.run([sys.executable, __file__, "--case", name], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout.splitlines()[-1])  # type: ignore[no-any-return]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(run_case(sys.argv[2])))
    else:
        main(sys.argv[1:])
