"""Kills the job at random moments and starts it again: `python tests/kill_restart.py` (some 15 minutes).

Every other time the driver (Python and the JVM) is killed with SIGKILL, else one Python worker. A run that did not
end well is started again with the same options; what is kept and dropped and what the index holds must then be what
an undisturbed run gives.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).parents[1]
FILES, PICTURES = 6, 80
# Groups of one file or two, so that there is something to lose.
JOB = """
import sys
from imgdedup_spark import cli, hashing
hashing.WAVES = 1
sys.exit(cli.main())
"""


def make_data(folder: Path) -> None:
    """Noise of some hundred kinds, as JPEG files of several qualities: near and equal twins, also across files."""
    folder.mkdir()
    dice = random.Random(0)
    for number in range(FILES):
        rows = []
        for row in range(PICTURES):
            seed, quality = dice.randrange(FILES * PICTURES // 2), dice.choice((60, 90))
            pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).resize((240, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
            rows.append({"id": number * PICTURES + row, "image": buffer.getvalue()})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{number}.parquet", row_group_size=20)


def start(folder: Path, data: Path, log: Path) -> subprocess.Popen[bytes]:
    conf = {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        # A piece a file, see JOB.
        "spark.sql.files.maxPartitionBytes": "1m",
    }
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]"]
    for name, value in conf.items():
        command += ["--conf", f"{name}={value}"]
    command += [str(log.with_name("job.py")), "--input", str(data), "--output", str(folder / "out")]
    command += ["--index", str(folder / "index"), "--threshold", "6", "--id-col", "id"]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)


def outcome(folder: Path) -> tuple[object, ...]:
    out, index = folder / "out", folder / "index"
    kept = [row for file in sorted((out / "kept").glob("*.parquet")) for row in pq.read_table(file)["id"].to_pylist()]
    dropped = sorted(map(str, pq.read_table(out / "duplicates").to_pylist()))
    state = json.loads(max((index / "manifests").glob("*.json")).read_text())
    added = sorted(row for run in state["runs"] for row in pq.read_table(index / run["folder"])["id"].to_pylist())
    return kept, dropped, added, len(state["runs"]), json.loads((out / "summary.json").read_text())["rows_kept"]


def children(session: int) -> list[int]:
    """Python workers of a session: they have groups of their own, and the daemon forks them."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes()
            if int(fields[3]) == session and b"pyspark.daemon" in command:
                found.append(int(status.parent.name))
    return found


def kill(process: subprocess.Popen[bytes], whom: str, dice: random.Random) -> bool:
    """Whether there was someone to kill."""
    if process.poll() is not None:
        return False
    if whom == "driver":
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    workers = children(process.pid)
    # The lowest is the daemon, which starts the others again; a worker is what a picture can take down.
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(sorted(workers)[1:] or workers), signal.SIGKILL) if workers else None
    return bool(workers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="imgdedup-kill-") as scratch:
        base = Path(scratch)
        log = base / "log"
        (base / "job.py").write_text(JOB)
        make_data(base / "in")
        (base / "undisturbed").mkdir()
        started = time.monotonic()
        status = start(base / "undisturbed", base / "in", log).wait()
        seconds = time.monotonic() - started
        if status:
            print(log.read_text()[-2000:])
            return 1
        expected = outcome(base / "undisturbed")
        print(f"undisturbed: {seconds:.1f} s, {len(expected[0])} rows kept", flush=True)  # type: ignore[arg-type]
        good = 0
        for number in range(options.times):
            folder = base / f"run{number}"
            folder.mkdir()
            whom = ("driver", "worker")[number % 2]
            process = start(folder, base / "in", log)
            moment = dice.uniform(0, seconds)
            if whom == "worker":
                # There are workers from when hashing begins.
                moment = dice.uniform(0.3, 0.9) * seconds
            time.sleep(moment)
            hit = kill(process, whom, dice)
            first = process.wait()
            attempts = 1
            while not (folder / "out" / "summary.json").exists() and attempts < 4:
                attempts += 1
                start(folder, base / "in", log).wait()
            same = (folder / "out" / "summary.json").exists() and outcome(folder) == expected
            good += same
            print(
                f"{number + 1:3}: {whom} {'killed' if hit else 'not there'} after {moment:.1f} s, exit status {first}, "
                f"{attempts} attempts: {'the same' if same else 'DIFFERENT'}",
                flush=True,
            )
        print(f"{good} of {options.times} the same")
        if good < options.times:
            print(log.read_text()[-2000:])
        return int(good < options.times)


if __name__ == "__main__":
    sys.exit(main())
