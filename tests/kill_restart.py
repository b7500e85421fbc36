"""Kills the job at random moments and starts it again: `python tests/kill_restart.py` (some 20 minutes on two cores).

``tests/lakes/kills.py`` does the same on S3 and HDFS.

Every other time the driver (Python and the JVM) is killed with SIGKILL, else one Python worker that is at work: it
is seen to use processor time, or waited for. Half of the workers are killed under a master that retries tasks.

Each run replaces an output and adds to an index that an earlier run has made. Right after the kill both must be
readable and as they were (or, if the run had got so far, as they shall be). A run that did not end well is started
again with the same options; what is kept and dropped and what the index holds must then be what an undisturbed run
gives.

At the end two runs add to one index at the same time: one of them may fail, with one line, and be started again. And
two write to one output: one of them must fail, and what lies there is the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).parents[1]
FILES, PICTURES = 5, 80
#: Large enough that hashing takes several seconds on two cores.
SIZE = (1800, 1350)
#: What a file is cut into: one piece for each core.
PIECE_BYTES = 3 << 20
# Groups of one file or two, so that there is something to lose.
JOB = """
import sys
from imgdedup_spark import cli
from imgdedup_spark.hash import stage
stage.WAVES = 1
sys.exit(cli.main())
"""
#: Ticks of processor time (10 ms each) within WATCHED seconds that make a worker busy.
BUSY_TICKS, WATCHED = 2, 0.05


def make_data(folder: Path, files: int, first_id: int, seed: int) -> Path:
    """Noise of some hundred kinds, as JPEG files of several qualities: near and equal twins, also across files."""
    folder.mkdir()
    dice = random.Random(seed)
    for number in range(files):
        rows = []
        for row in range(PICTURES):
            kind, quality = dice.randrange(FILES * PICTURES // 2), dice.choice((60, 90))
            pixels = np.random.default_rng(kind).integers(0, 255, (12, 12, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
            rows.append({"id": first_id + number * PICTURES + row, "image": buffer.getvalue()})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{number}.parquet", row_group_size=10)
    return folder


class Home:
    """Where what a run reads and writes lies: here in the local folder in which it is prepared and looked at.

    Args:
        settings: for Spark.
    """

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.settings = settings or {}

    def uri(self, path: Path) -> str:
        return str(path)

    def put(self, path: Path) -> None:
        """Takes a local folder there."""

    def get(self, path: Path) -> None:
        """Fetches the output and index of a run into its local folder."""


@dataclass
class Attempt:
    """One start of the job."""

    process: subprocess.Popen[bytes]
    log: Path

    def stage(self) -> str:
        """What the job is at, as its log tells."""
        done = re.findall(r"imgdedup: (\w+): [\d.]+ s", self.log.read_text())
        order = ["read", "references", "hash", "match", "keep", "write", "index", "end"]
        return order[order.index(done[-1]) + 1] if done else "start or read"


def start(
    folder: Path,
    data: Path,
    run: str,
    *,
    home: Home,
    index: Path | None = None,
    overwrite: bool = True,
    master: str = "local[2]",
) -> Attempt:
    """The job on ``data``, into ``folder/out`` and ``folder/index``, or another index."""
    conf = home.settings | {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "2",
        # With WAVES = 1 a group is as many pieces as there are cores: a file.
        "spark.sql.files.maxPartitionBytes": str(PIECE_BYTES),
    }
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", master]
    for name, value in conf.items():
        command += ["--conf", f"{name}={value}"]
    command += [str(folder.parent / "job.py"), "--input", home.uri(data), "--output", home.uri(folder / "out")]
    command += ["--index", home.uri(index or folder / "index"), "--run-id", run, "--threshold", "6", "--id-col", "id"]
    command += ["--decode", "exact", *(["--overwrite"] if overwrite else [])]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    log = folder / f"log-{len(list(folder.glob('log-*')))}"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)
    return Attempt(process, log)


def read_output(out: Path) -> Any:
    """Everything that can be told from an output; None if there is no summary."""
    if not (out / "summary.json").exists():
        return None
    kept = [row for file in sorted((out / "kept").glob("*.parquet")) for row in pq.read_table(file)["id"].to_pylist()]
    dropped = sorted(map(str, pq.read_table(out / "duplicates").to_pylist()))
    summary = json.loads((out / "summary.json").read_text())
    if summary["rows_kept"] != len(kept) or summary["rows_dropped"] != len(dropped):
        return f"summary.json says {summary['rows_kept']} kept, {summary['rows_dropped']} dropped; kept/ is another"
    return kept, dropped


def read_index(index: Path) -> Any:
    """Which rows each run has added."""
    state = json.loads(max((index / "manifests").glob("*.json")).read_text())
    # A run that has added nothing has no folder.
    return [
        (run["run"], sorted(pq.read_table(index / run["folder"])["id"].to_pylist()) if run["rows"] else [])
        for run in state["runs"]
    ]


def busy_worker(session: int) -> int | None:
    """The Python worker of a session that uses most processor time just now."""

    def ticks() -> dict[int, int]:
        parents, used = {}, {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and b"pyspark.daemon" in (status.parent / "cmdline").read_bytes():
                    pid = int(status.parent.name)
                    parents[pid], used[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
        # The daemon, whose parent is the JVM, starts workers; those are its children.
        return {pid: used[pid] for pid in parents if parents[pid] in parents}

    before = ticks()
    time.sleep(WATCHED)
    gained = {pid: count - before[pid] for pid, count in ticks().items() if pid in before}
    busiest = max(gained, key=gained.__getitem__, default=None)
    return busiest if busiest is not None and gained[busiest] >= BUSY_TICKS else None


def kill_driver(attempt: Attempt) -> bool:
    """Whether it was still there."""
    if attempt.process.poll() is not None:
        return False
    os.killpg(attempt.process.pid, signal.SIGKILL)
    attempt.process.wait()
    # Python workers have a group of their own and end when they see that their JVM is gone.
    return True


def kill_worker(attempt: Attempt) -> bool:
    """Whether a worker was seen at work before the run ended."""
    while attempt.process.poll() is None:
        worker = busy_worker(attempt.process.pid)
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                return True
    return False


@dataclass(frozen=True)
class Scene:
    """What each run starts from, and what it must come to."""

    before: Path
    data: Path
    outputs: tuple[Any, Any]
    indexes: tuple[Any, Any]
    seconds: float
    home: Home

    def disturb(self, folder: Path, whom: str, master: str, dice: random.Random) -> tuple[list[str], Counter[str]]:
        """One run with a kill in it: what went wrong (nothing, one hopes), and what is to be counted."""
        shutil.copytree(self.before, folder)
        self.home.put(folder)
        wrong: list[str] = []
        attempt = start(folder, self.data, "day", home=self.home, master=master)
        # Workers are there between Spark's start and the writing of the output.
        moment = dice.uniform(0, 1) if whom == "driver" else dice.uniform(0.2, 0.8)
        time.sleep(moment * self.seconds)
        hit = kill_driver(attempt) if whom == "driver" else kill_worker(attempt)
        at = attempt.stage()
        if whom == "driver":
            wrong += self._check(folder, swapping=at in ("index", "end"))
        status = attempt.process.wait()
        noticed = "Python worker exited unexpectedly" in attempt.log.read_text()
        if whom == "worker":
            wrong += self._check(folder)
        attempts = 1
        self.home.get(folder)
        while (read_output(folder / "out") != self.outputs[1] or status) and attempts < 4:
            attempts += 1
            # A scheduler repeats the whole command, a person may leave out what is not needed any more, and adds it
            # again when told that it is: the run was killed before it had begun.
            overwrite = attempts > 2 or dice.random() < 0.5
            again = start(folder, self.data, "day", home=self.home, overwrite=overwrite)
            status = again.process.wait()
            self.home.get(folder)
        reused = 0
        if attempts > 1 and not status:
            reused = json.loads((folder / "out" / "summary.json").read_text())["stages"]["hash"].get("files_reused", 0)
        if read_output(folder / "out") != self.outputs[1]:
            wrong.append("the output is DIFFERENT")
        if read_index(folder / "index") != self.indexes[1]:
            wrong.append("the index is DIFFERENT")
        if wrong:
            print(*(log.read_text()[-1500:] for log in sorted(folder.glob("log-*"))), sep="\n---\n")
        print(
            f"{whom} {'killed' if hit else 'not there'} after {moment * self.seconds:.1f} s, at: {at}; {master}, "
            f"exit status {attempt.process.returncode}, {attempts} attempts, {reused} files reused: "
            f"{'; '.join(wrong) or 'the same'}",
            flush=True,
        )
        return wrong, Counter(
            {
                "kills": hit,
                f"{whom} killed at: {at}": hit,
                "workers whose loss Spark noticed": whom == "worker" and noticed,
                "runs that Spark finished by itself": hit and attempts == 1,
                "restarts": attempts - 1,
                "restarts that hashed only what was missing": reused > 0,
            }
        )

    def race(self, base: Path) -> list[str]:
        """Two runs at once on one index: what went wrong."""
        folders = {run: base / f"race-{run}" for run in ("one", "other")}
        for folder in folders.values():
            shutil.copytree(self.before, folder)
            self.home.put(folder)
        index = folders["one"] / "index"
        attempts = {run: start(folder, self.data, run, home=self.home, index=index) for run, folder in folders.items()}
        statuses = {run: attempt.process.wait() for run, attempt in attempts.items()}
        print(f"two at once: exit statuses {sorted(statuses.values())}", flush=True)
        wrong = []
        if sorted(statuses.values()) not in ([0, 0], [0, 3]):
            wrong.append(f"the exit statuses are {statuses}")
        added = self.indexes[1][-1][1]
        self.home.get(folders["one"])
        first, *more = [rows for run, rows in read_index(index) if run in folders]
        if first != added or any(more):
            wrong.append("the index is DIFFERENT after two runs at once")
        for run, status in statuses.items():
            if status:
                errors = re.findall("imgdedup: error: .*", attempts[run].log.read_text())
                if len(errors) != 1 or "another run has changed it" not in errors[0]:
                    wrong.append(f"the error is {errors}")
                if start(folders[run], self.data, run, home=self.home, index=index).process.wait():
                    wrong.append("the run that had failed does not succeed when it is started again")
        self.home.get(folders["one"])
        if sorted(rows for run, rows in read_index(index) if run in folders) != [[], added]:
            wrong.append("the index is DIFFERENT at the end")
        return wrong

    def race_for_output(self, base: Path) -> list[str]:
        """Two runs at once on one output: what went wrong."""
        folder = base / "race-output"
        shutil.copytree(self.before, folder)
        indexes = [folder / "index", folder / "index-too"]
        shutil.copytree(*indexes)
        self.home.put(folder)
        attempts = [start(folder, self.data, "day", home=self.home, index=index) for index in indexes]
        statuses = [attempt.process.wait() for attempt in attempts]
        self.home.get(folder)
        print(f"two at once on one output: exit statuses {sorted(statuses)}", flush=True)
        wrong = []
        if sorted(statuses) != [0, 3]:
            wrong.append(f"the exit statuses on one output are {statuses}")
        for attempt in [attempt for attempt, status in zip(attempts, statuses, strict=True) if status]:
            errors = re.findall("imgdedup: error: .*", attempt.log.read_text())
            if len(errors) != 1 or "another run" not in errors[0]:
                wrong.append(f"the error is {errors}")
        if read_output(folder / "out") != self.outputs[1]:
            wrong.append("the output is DIFFERENT after two runs at once")
        return wrong

    def _check(self, folder: Path, swapping: bool = False) -> list[str]:
        """What is not readable, or neither as before nor as it shall be."""
        wrong = []
        self.home.get(folder)
        output = read_output(folder / "out")
        if output not in self.outputs and not (swapping and output is None):
            wrong.append("the previous output was not readable after the kill")
        if read_index(folder / "index") not in self.indexes:
            wrong.append("the index was not readable after the kill")
        return wrong


def prepare(base: Path, home: Home) -> Scene:
    (base / "job.py").write_text(JOB)
    before = base / "before"
    before.mkdir()
    earlier = make_data(base / "earlier", 1, 100_000, seed=1)
    data = make_data(base / "in", FILES, 0, seed=0)
    home.put(earlier)
    home.put(data)
    undisturbed = base / "undisturbed"
    seconds = 0.0
    for folder, source, run in ((before, earlier, "earlier"), (undisturbed, data, "day")):
        if folder is undisturbed:
            shutil.copytree(before, undisturbed)
            home.put(undisturbed)
        started = time.monotonic()
        attempt = start(folder, source, run, home=home)
        if attempt.process.wait():
            raise SystemExit(attempt.log.read_text()[-2000:])
        seconds = time.monotonic() - started
        home.get(folder)
        print(attempt.log.read_text()[-700:])
    scene = Scene(
        before,
        data,
        (read_output(before / "out"), read_output(undisturbed / "out")),
        (read_index(before / "index"), read_index(undisturbed / "index")),
        seconds,
        home,
    )
    print(f"undisturbed: {seconds:.1f} s, {len(scene.outputs[1][0])} rows kept", flush=True)
    return scene


def main(home: Home | None = None, times: int = 20, seed: int = 0) -> int:
    dice = random.Random(seed)
    good, counts = 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="imgdedup-kill-") as scratch:
        base = Path(scratch)
        scene = prepare(base, home or Home())
        number = 0
        while number < times:
            print(f"{number + 1:3}: ", end="")
            whom = ("driver", "worker")[number % 2]
            master = "local[2,4]" if number % 4 == 3 else "local[2]"
            wrong, counted = scene.disturb(base / "run", whom, master, dice)
            shutil.rmtree(base / "run")
            counts += counted
            # A run that was over before its moment came does not count, unless it was wrong.
            if counted["kills"] or wrong:
                number += 1
                good += not wrong
        raced = [*scene.race(base), *scene.race_for_output(base)]
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")
    print(*raced, f"{good} of {times} the same; two at once: {'wrong' if raced else 'well'}", sep="\n")
    return int(good < times or bool(raced))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(main(times=options.times, seed=options.seed))
