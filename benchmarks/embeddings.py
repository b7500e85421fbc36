"""First-come matching of embeddings: all-pairs against faiss on the same two cores, and blocking at a million.

    pip install faiss-cpu
    python benchmarks/embeddings.py flat                     # 200,000 x 512 against faiss IndexFlatIP.range_search
    python benchmarks/embeddings.py blocked                  # 1,000,000 x 512: work, recall by the run and by outcome

``--kind clustered`` (default) are vectors as image encoders make them: a common direction, clusters in the few
directions that carry most of the variance, some noise, and a tenth of them near-duplicates of others. ``--kind random``
are directions drawn evenly, also with a tenth of near-duplicates. Both from a seed. Times include Spark, from reading
Parquet to written decisions, but not its start; ``seconds`` has a cold run and a warm one. One JSON line a result.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Float32 = npt.NDArray[np.float32]
DIMS = 512
SIMILARITY = 0.9
CORES = 2


def make_vectors(kind: str, count: int) -> Float32:
    """(count, 512) float32 of length 1, in random order."""
    random = np.random.default_rng(7)
    vectors = np.empty((count, DIMS), np.float32)
    spectrum = random.standard_normal((80, DIMS)) * (np.arange(1, 81) ** -0.5)[:, None]
    common = 0.7 * random.standard_normal(DIMS)
    clusters = random.standard_normal((max(count // 50, 1), 80))
    for start in range(0, count, 50_000):
        part = vectors[start : start + 50_000]
        part[:] = random.standard_normal(part.shape, np.float32)
        if kind == "clustered":
            places = clusters[random.integers(len(clusters), size=len(part))]
            part *= 0.25
            part += common + (places + 0.7 * random.standard_normal(places.shape)) @ spectrum
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    copies, sources = random.permutation(count)[: count // 5].reshape(2, -1)
    # Cosines from 0.87 to 1: some of the edits fall just short of the threshold.
    noise = random.uniform(0, 0.55, (len(copies), 1)) / np.sqrt(DIMS)
    vectors[copies] = vectors[sources] + noise * random.standard_normal((len(copies), DIMS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def write_items(vectors: Float32, folder: Path) -> None:
    """Eight Parquet files of rank and vector."""
    folder.mkdir(parents=True)
    for i, rows in enumerate(np.array_split(np.arange(len(vectors)), 8)):
        flat = pa.py_buffer(np.ascontiguousarray(vectors[rows]))
        offsets = pa.py_buffer(np.arange(len(rows) + 1, dtype=np.int32) * 4 * DIMS)
        table = pa.table(
            {
                "rank": pa.array(rows, pa.int64()),
                "vector": pa.Array.from_buffers(pa.binary(), len(rows), [None, offsets, flat]),
            }
        )
        pq.write_table(table, folder / f"{i}.parquet", compression="none", row_group_size=10_000)


def run_first_come(
    items: Path, scratch: Path, runs: int, limit: int | None
) -> tuple[list[float], dict[str, Any], Path]:
    """Seconds of each run, the last one's report and decisions."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import DataFrame, SparkSession

    from imgdedup_spark.match.by_cosine.first_come import first_come
    from imgdedup_spark.match.by_cosine.search import CosineOptions

    session = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.local.dir", str(scratch / "spark"))
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )

    def stage(name: str, rows: DataFrame) -> DataFrame:
        started = time.perf_counter()
        path = str(scratch / name)
        rows.write.mode("overwrite").parquet(path)
        print(f"  {name}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
        return session.read.parquet(path)

    options = CosineOptions() if limit is None else CosineOptions(all_pairs_limit=limit)
    seconds, output = [], scratch / "decisions"
    for _ in range(runs):
        started = time.perf_counter()
        decisions, report = first_come(session.read.parquet(str(items)), SIMILARITY, stage=stage, options=options)
        decisions.write.mode("overwrite").parquet(str(output))
        seconds.append(round(time.perf_counter() - started, 1))
    session.stop()
    return seconds, report, output


def read_keepers(output: Path, count: int) -> npt.NDArray[np.int64]:
    """(count,) int64: each item's keeper, -1 for a kept item."""
    table = pq.read_table(output, columns=["rank", "keeper"])
    keepers = np.full(count, -1, np.int64)
    keepers[table["rank"].to_numpy()] = table["keeper"].fill_null(-1).to_numpy()
    return keepers


def run_faiss(vectors: Path, output: Path) -> None:
    """Times ``range_search`` of all vectors and applies the first-come rule to what it returns. In its own process."""
    import faiss

    faiss.omp_set_num_threads(CORES)
    data = np.load(vectors)
    started = time.perf_counter()
    index = faiss.IndexFlatIP(DIMS)
    index.add(data)
    limits, _, found = index.range_search(data, SIMILARITY)
    seconds = time.perf_counter() - started
    keepers = np.full(len(data), -1, np.int64)
    for i in range(len(data)):
        earlier = np.sort(found[limits[i] : limits[i + 1]])
        for other in earlier[earlier < i]:
            if keepers[other] == -1:
                keepers[i] = other
                break
    np.savez(output, keepers=keepers, seconds=seconds)


def flat(kind: str, count: int, scratch: Path) -> dict[str, Any]:
    vectors = make_vectors(kind, count)
    np.save(scratch / "vectors.npy", vectors)
    write_items(vectors, scratch / "items")
    seconds, report, output = run_first_come(scratch / "items", scratch, 2, None)
    command = [sys.executable, __file__, "faiss", str(scratch / "vectors.npy"), str(scratch / "faiss.npz")]
    subprocess.run(command, check=True)
    peer = np.load(scratch / "faiss.npz")
    keepers = read_keepers(output, count)
    return {
        "what": "flat",
        "kind": kind,
        "vectors": count,
        "seconds": seconds,
        "faiss_seconds": round(float(peer["seconds"]), 1),
        "times_faster": round(float(peer["seconds"]) / seconds[-1], 1),
        # Single precision may decide a pair at the very threshold differently.
        "different_keepers": int((keepers != peer["keepers"]).sum()),
        **report,
    }


def blocked(kind: str, count: int, scratch: Path) -> dict[str, Any]:
    vectors = make_vectors(kind, count)
    write_items(vectors, scratch / "items")
    seconds, report, output = run_first_come(scratch / "items", scratch, 1, 0)
    keepers = read_keepers(output, count)
    # By outcome, on 1% of the items: of those with an earlier kept row within the threshold, how many were dropped?
    queries = np.sort(np.random.default_rng(1).choice(count, count // 100, replace=False))
    kept = np.flatnonzero(keepers < 0)
    close = np.zeros(len(queries), np.int64)
    for start in range(0, len(kept), 20_000):
        rows = kept[start : start + 20_000]
        cosines = vectors[queries] @ vectors[rows].T
        close += ((cosines >= SIMILARITY) & (rows[None, :] < queries[:, None])).sum(axis=1)
    near = close > 0
    return {
        "what": "blocked",
        "kind": kind,
        "vectors": count,
        "seconds": seconds,
        "recall_by_outcome": round(float((keepers[queries][near] >= 0).mean()), 5),
        "queries_with_a_keeper": int(near.sum()),
        "times_less_work": round(report["all_pairs_comparisons"] / report["comparisons"], 1),
        **report,
    }


def main() -> None:
    if sys.argv[1:2] == ["faiss"]:
        return run_faiss(Path(sys.argv[2]), Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("flat", "blocked"))
    parser.add_argument("--kind", choices=("clustered", "random"), default="clustered")
    parser.add_argument("--vectors", type=int, help="default: 200,000 for flat, 1,000,000 for blocked")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="embeddings-"))
    try:
        if arguments.what == "flat":
            result = flat(arguments.kind, arguments.vectors or 200_000, scratch)
        else:
            result = blocked(arguments.kind, arguments.vectors or 1_000_000, scratch)
        print(json.dumps(result))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
