"""Kills parts of a real cluster while the job is at work: `python tests/cluster_kills.py` (`make test-cluster`).

A standalone master and two workers of one core each, as processes of their own; the package goes with ``--py-files``,
or, with ``--packed``, is installed in an environment that is sent as an archive.
Every run replaces an output and adds to an index that an earlier run has made. In random order dies one of

- executor: the JVM that runs tasks
- python: a Python worker, or the process beside it that decodes
- machine: a worker with all that it has started; another one takes its place after the run
- stalled: an executor that is stopped, and stays so, under speculation
- driver: and is started again with the same options

What is kept and dropped, what is wrong with rows and what the index holds must then be what an undisturbed run gives.
Among the rows are pictures that end the process that decodes them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from kill_restart import FILES, PIECE_BYTES, ROOT, make_data, read_index, read_output

sys.path.insert(0, str(ROOT / "tests" / "killers"))
from killers import killer

KILLERS = ROOT / "tests" / "killers"
KINDS = ("executor", "python", "machine", "stalled", "driver")
EXECUTOR, PYTHON = "CoarseGrainedExecutorBackend", "pyspark.daemon"
#: Seconds for Spark's processes to say that they are there, and for a run that lost something.
STARTING, LONGEST = 60, 600
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.executor.memory": "1g",
    "spark.executorEnv.PYTHONPATH": str(KILLERS),
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.files.maxPartitionBytes": str(PIECE_BYTES),
    # A stalled executor is noticed by what its tasks take.
    "spark.speculation": "true",
    "spark.speculation.minTaskRuntime": "2s",
    "spark.speculation.quantile": "0.5",
    "spark.network.timeout": "60s",
    "spark.executor.heartbeatInterval": "5s",
}
# The package comes with the job, and from nowhere else that a variable names.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
ENVIRONMENT |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


def parent_of(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def family(root: int) -> list[int]:
    """A process and all that it has started, itself first."""
    parents = {number: parent_of(number) for number in (int(one.name) for one in Path("/proc").glob("[0-9]*"))}
    found = [root]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def send(processes: list[int], number: signal.Signals) -> None:
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)


@dataclass
class Cluster:
    """A master and its workers."""

    home: Path
    url: str = ""
    master: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def _start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        kind = name.rstrip("0123456789")
        command = [str(Path(sys.executable).with_name("spark-class")), f"org.apache.spark.deploy.{kind}.{kind.title()}"]
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=ENVIRONMENT, cwd=self.home)
        end = time.monotonic() + STARTING
        said = "registered with master" if kind == "worker" else "New state: ALIVE"
        while said not in (self.home / f"{name}.log").read_text(errors="replace"):
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit((self.home / f"{name}.log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        return process

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"spark://127.0.0.1:{port}"
        self.master = self._start("master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        self.fill()

    def fill(self) -> None:
        """Brings the workers back to two."""
        self.workers = [one for one in self.workers if one.poll() is None]
        while len(self.workers) < 2:
            number = len(list(self.home.glob("worker*.log")))
            options = ["--cores", "1", "--memory", "1500M", "--webui-port", "0", "--work-dir", str(self.home / "work")]
            self.workers.append(self._start(f"worker{number}", *options, self.url))

    def stop(self) -> None:
        for one in (*self.workers, *([self.master] if self.master else [])):
            send(family(one.pid), signal.SIGKILL)

    def having(self, text: str) -> Iterator[int]:
        """Processes of the workers with such a command."""
        for one in self.workers:
            yield from (process for process in family(one.pid) if text in command_of(process))


def add_killers(data: Path) -> set[tuple[int, str]]:
    """Rows of pictures that kill; what is to be said of them."""
    whole = pq.read_table(data / "0.parquet").column("image")[0].as_py()
    ids = dict(zip(range(-4, 0), ("abort", "segfault", "exit", "abort"), strict=True))
    rows = [{"id": number, "image": killer(whole, kind, number)} for number, kind in ids.items()]
    pq.write_table(pa.Table.from_pylist(rows), data / "killers.parquet")
    return {(number, "crashed") for number in ids}


def results(folder: Path) -> tuple[Any, ...]:
    """Everything that must be as after an undisturbed run."""
    errors = pq.read_table(folder / "out" / "errors").select(["id", "error"]).to_pylist()
    return read_output(folder / "out"), read_index(folder / "index"), {tuple(one.values()) for one in errors}


def zipped(home: Path) -> list[str]:
    """What tells spark-submit of the package, as a zip file."""
    return ["--py-files", shutil.make_archive(str(home / "imgdedup_spark"), "zip", ROOT, "imgdedup_spark")]


def packed(home: Path) -> list[str]:
    """The same, as an environment in which its wheel is installed, without Spark's own jars: workers have those."""
    environment, archive = home / "environment", home / "environment.tar.gz"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", ROOT, "venv-pack"], check=True)
    pack = ["-p", environment, "-o", archive, "--compress-level", "1", "--exclude", "*/pyspark/jars/*", "--quiet"]
    subprocess.run([environment / "bin" / "venv-pack", *pack], check=True)
    python = {"spark.pyspark.python": "./environment/bin/python", "spark.pyspark.driver.python": sys.executable}
    return ["--archives", f"{archive}#environment", *(f"--conf={name}={value}" for name, value in python.items())]


def submit(cluster: Cluster, package: list[str], folder: Path, data: Path, run: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", cluster.url, *package]
    for name, value in SETTINGS.items():
        command += ["--conf", f"{name}={value}"]
    command += [str(ROOT / "jobs" / "dedup.py"), "--input", str(data), "--output", str(folder / "out"), "--overwrite"]
    command += ["--index", str(folder / "index"), "--run-id", run, "--threshold", "6", "--id-col", "id"]
    with (folder / f"log-{len(list(folder.glob('log-*')))}").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, cwd=folder, start_new_session=True)


def ended(driver: subprocess.Popen[bytes]) -> int:
    """Its exit status; -1 if it takes too long, and is ended."""
    try:
        return driver.wait(LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        return -1


def strike(cluster: Cluster, driver: subprocess.Popen[bytes], kind: str, dice: random.Random) -> list[int]:
    """Kills, or stops, one of a kind as soon as there is one; the processes that were hit, none if the run has ended
    before."""
    while driver.poll() is None:
        if kind == "driver":
            os.killpg(driver.pid, signal.SIGKILL)
            return [driver.pid]
        if kind == "python":
            # The daemon starts the others.
            found = [one for one in cluster.having(PYTHON) if PYTHON in command_of(parent_of(one))]
        else:
            found = list(cluster.having(EXECUTOR))
        if found:
            victim = dice.choice(found)
            if kind == "machine":
                home = next(one.pid for one in cluster.workers if victim in family(one.pid))
                victims = family(home)
            else:
                victims = family(victim) if kind == "stalled" else [victim]
            send(victims, signal.SIGSTOP if kind == "stalled" else signal.SIGKILL)
            return victims
        time.sleep(0.1)
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packed", action="store_true", help="an environment instead of a zip file")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    base = Path(tempfile.mkdtemp(prefix="cluster-"))
    package = packed(base) if options.packed else zipped(base)
    cluster = Cluster(base)
    try:
        # The machine's own folder for what is unpacked is not a test's.
        ENVIRONMENT["XDG_CACHE_HOME"] = str(base / "cache")
        cluster.start()
        before, undisturbed = base / "before", base / "undisturbed"
        before.mkdir()
        earlier = make_data(base / "earlier", 1, 100_000, seed=1)
        data = make_data(base / "in", FILES, 0, seed=0)
        killers = add_killers(data)
        if submit(cluster, package, before, earlier, "earlier").wait(LONGEST):
            raise SystemExit((before / "log-0").read_text()[-2000:])
        shutil.copytree(before, undisturbed)
        started = time.monotonic()
        if submit(cluster, package, undisturbed, data, "day").wait(LONGEST):
            raise SystemExit((undisturbed / "log-1").read_text()[-2000:])
        seconds = time.monotonic() - started
        expected = results(undisturbed)
        if expected[2] != killers:
            raise SystemExit(f"pictures that kill: {expected[2]}")
        print(f"undisturbed: {seconds:.1f} s, {len(expected[0][0])} rows kept", flush=True)
        wrong = hits = 0
        kinds = (KINDS * options.times)[: options.times]
        for number, kind in enumerate(dice.sample(kinds, len(kinds))):
            folder = base / f"run-{number}"
            shutil.copytree(before, folder)
            driver = submit(cluster, package, folder, data, "day")
            moment = dice.uniform(0.3, 0.8) * seconds
            time.sleep(moment)
            victims = strike(cluster, driver, kind, dice)
            status = ended(driver)
            send(victims, signal.SIGKILL)
            again = 0
            while status and again < 3:
                again += 1
                cluster.fill()
                status = ended(submit(cluster, package, folder, data, "day"))
            cluster.fill()
            same = not status and results(folder) == expected
            allowed = kind == "driver" or not again
            if not same or not allowed:
                wrong += 1
                logs = sorted(folder.glob("log-*"))
                print(*(re.sub(r"(?m)^\s+at .*\n", "", log.read_text())[-1500:] for log in logs), sep="\n---\n")
            hits += bool(victims)
            print(
                f"{kind} {'hit' if victims else 'not there'} after {moment:.1f} s; {again} restarts: "
                f"{'the same' if same else 'DIFFERENT'}{'' if allowed else ', and it had to be started again'}",
                flush=True,
            )
        print(f"{hits} hits in {options.times} runs, {wrong} of them not as an undisturbed run")
        # What met nothing has shown nothing.
        return int(bool(wrong) or 2 * hits < options.times)
    finally:
        cluster.stop()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
