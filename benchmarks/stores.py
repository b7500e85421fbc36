"""The job on S3 against the same on a local disk: a table of seconds, and the bars.

    IMGDEDUP_JARS=… IMGDEDUP_MOTO=… python benchmarks/stores.py              # some minutes; what make test-lakes brings
    IMGDEDUP_JARS=… IMGDEDUP_MOTO=… python benchmarks/stores.py --rounds 1

10,000 pictures of ``make_data.py`` at 0.2 megapixels (54 kB), in Parquet. Input and output are on the store, which is
moto's server on this machine, so that what the server computes is missing to the job: it is told beside the seconds. A
round runs each way once, in turn; results are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import fs
from run import DATA, HERE

sys.path.insert(0, str(HERE.parent / "tests"))
sys.path.insert(0, str(HERE.parent / "tests" / "lakes"))
from servers import KEY, SECRET, jars, s3a_settings, serving_s3

PICTURES, FILES = 10_000, DATA / "stores"
#: Bucket, Spark's settings for it, and how many times as long as on the local disk the job may take there.
WAYS = {
    "by the workers, with Spark's keys": ("lake", {}, 1.5),
    "by Spark alone": ("vault", {"spark.hadoop.fs.s3a.bucket.vault.encryption.algorithm": "AES256"}, 2.5),
}


def run(where: str, settings: dict[str, str]) -> float:
    """Seconds of the job below a folder, JVM start included."""
    conf = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    spark = f"--master local[2] --driver-memory 4g --conf spark.ui.enabled=false {conf} pyspark-shell"
    variables = {"PYTHONPATH": str(HERE.parent), "PYSPARK_PYTHON": sys.executable, "PYSPARK_SUBMIT_ARGS": spark}
    command = [sys.executable, "-m", "imgdedup_spark.cli", "--quiet", "--threshold", "8", "--overwrite"]
    start = time.perf_counter()
    subprocess.run([*command, "--input", f"{where}/small", "--output", f"{where}/out"], env=os.environ | variables,
                   check=True, stderr=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - start


def server_seconds() -> float:
    """Of processor time that the server, a child of this process, has taken so far."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        of = status.read_text().rpartition(")")[2].split()
        if int(of[1]) == os.getpid() and "serve_s3" in status.with_name("cmdline").read_text():
            return (int(of[11]) + int(of[12])) / os.sysconf("SC_CLK_TCK")
    raise SystemExit("the server is gone")


def outcome(store: fs.FileSystem, folder: str) -> list[object]:
    return [pq.read_table(f"{folder}/out/{part}", filesystem=store).to_pydict() for part in ("kept", "duplicates")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    if not (FILES / "small").exists():
        make = [sys.executable, str(HERE / "make_data.py"), "--output", str(FILES), "--only", "small"]
        subprocess.run([*make, "--small", str(PICTURES)], check=True)
    here, seconds = "on a local disk", {name: [] for name in ("on a local disk", *WAYS)}
    served = {name: [] for name in seconds}
    with serving_s3() as port:
        store = fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=f"127.0.0.1:{port}", scheme="http",
                                region="us-east-1", allow_bucket_creation=True)  # fmt: skip
        common = s3a_settings(port) | {"spark.jars": jars("s3a")}
        for bucket, _, _ in WAYS.values():
            store.create_dir(bucket)
            fs.copy_files(str(FILES / "small"), f"{bucket}/small", destination_filesystem=store)
        for _ in range(rounds):
            shutil.rmtree(FILES / "out", ignore_errors=True)
            for name, (bucket, settings, _) in {here: ("", {}, None), **WAYS}.items():
                before = server_seconds()
                seconds[name].append(run(f"s3a://{bucket}" if bucket else str(FILES), common | settings))
                served[name].append(server_seconds() - before)
                assert not bucket or outcome(store, bucket) == outcome(fs.LocalFileSystem(), str(FILES)), name
    medians = {name: statistics.median(some) for name, some in seconds.items()}
    print(f"| {PICTURES:,} pictures | seconds (least to most) | of the local disk's | at most | the server's own |")
    print("|---|---|---|---|---|")
    for name, some in seconds.items():
        bar = WAYS[name][2] if name in WAYS else ""
        spread = f"{medians[name]:.1f} ({min(some):.1f} to {max(some):.1f})"
        own = f"{statistics.median(served[name]):.1f}"
        print(f"| {name} | {spread} | {medians[name] / medians[here]:.2f} | {bar} | {own} |")


if __name__ == "__main__":
    main()
