"""Runs the job on a file system at fault, again and again: ``python tests/faulty/runs.py [--times 50] [--seed 0]``.

After runs in which anything may go wrong there is one for each listing that the driver asks for, which comes late.

Each run adds the second of two days to an index that knows the first, and writes pictures, some of them unreadable.
Whatever goes wrong, a run either ends well, with what an undisturbed run gives, or with one line and a status, and
nothing there that looks whole; and started again it comes to the same in the end.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).parent
KINDS = (("fail",), ("full",), ("torn",), ("late", "delay"), ("fail", "full", "torn", "late", "delay"))
#: How much goes wrong in one attempt after another: less, as somebody would see to it.
RATES = (0.03, 0.01, 0.0)
ROWS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgdedup-faulty-") as scratch:
        runs = Runs(Path(scratch))
        sys.exit(not (runs.at_random(options.seed, options.times) and runs.late()))


class Runs:
    """Runs in one session, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan = folder, folder / "plan.json"
        os.environ |= {"IMGDEDUP_FAULTS": str(self.plan), "PYSPARK_PYTHON": sys.executable}
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._set()
        from pyspark.sql import SparkSession

        settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "OFF"}
        # As quick as may be: it is the files that are looked at.
        settings |= {"spark.sql.shuffle.partitions": "2", "spark.sql.codegen.wholeStage": "false"}
        settings["spark.sql.codegen.factoryMode"] = "NO_CODEGEN"
        self.spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
        os.environ["IMGDEDUP_FAULTS_DRIVER"] = "1"
        sys.path.insert(0, str(HERE))
        from storage_faults import install

        self._installed = install()
        self._make_days()
        self._run(1, self.folder / "base")
        work = self._fresh("expected", replacing=False)
        status, said = self._run(2, work)
        assert status == 0, said
        self.expected = result(work)

    def at_random(self, first: int, times: int) -> bool:
        """Whether all of so many went well."""
        good, met = 0, collections.Counter[str]()
        for seed in range(first, first + times):
            kinds = KINDS[seed % len(KINDS)]
            plans = [{"seed": seed * len(RATES) + n, "rate": rate, "kinds": kinds} for n, rate in enumerate(RATES)]
            wrong, attempts, struck = self._once(plans, replacing=bool(seed % 2))
            met.update(struck)
            good += not wrong
            faults = " ".join(f"{name} {count}" for name, count in sorted(struck.items())) or "none"
            print(f"{seed}: {'; '.join(wrong) or 'the same'} after {attempts} attempts; faults: {faults}", flush=True)
        print(f"{good} of {times} the same; faults met: {dict(sorted(met.items()))}")
        return good == times

    def late(self) -> bool:
        """Whether all went well in which one listing of the driver's came late, each in its turn."""
        good = number = met = 0
        for replacing in (False, True):
            self._installed.listings, at = 1, 1
            while self._installed.listings >= at:
                wrong, attempts, struck = self._once([{"late_at": at}, {}], replacing=replacing)
                if struck:
                    print(f"listing {at}: {'; '.join(wrong) or 'the same'} after {attempts} attempts", flush=True)
                good, number, met, at = good + (not wrong), number + 1, met + len(struck), at + 1
        print(f"{good} of {number} the same with a listing that came late; files were missing in {met}")
        return good == number and met > 0

    def _once(self, plans: list[dict[str, Any]], *, replacing: bool) -> tuple[list[str], int, collections.Counter[str]]:
        """What went wrong in attempts by these plans, until one ends well; how many those were, and what they met."""
        work, wrong = self._fresh("work", replacing=replacing), []
        log = self.folder / "struck.txt"
        log.unlink(missing_ok=True)
        listings = 0
        for attempt, plan in enumerate(plans, 1):
            self._set(**plan)
            status, said = self._run(2, work)
            listings = listings or self._installed.listings
            self._set()
            lines = [line for line in said.splitlines() if line.startswith("imgdedup: error")]
            if status == 0:
                break
            if len(lines) != 1 or "Traceback" in said:
                wrong.append(f"attempt {attempt} says {said[-600:]!r}")
            if not self._is_whole(work / "out"):
                wrong.append(f"attempt {attempt} failed and left a summary: {lines}")
        if status != 0:
            wrong.append(f"it never came to an end: {said[-600:]!r}")
        # A run that could not clear up after its end says so.
        elif (found := result(work, cleared="could not be cleared" not in said)) != self.expected:
            wrong.append(f"DIFFERENT: {differences(self.expected, found)}")
        self._installed.listings = listings
        struck = collections.Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else {}
        return wrong, attempt, collections.Counter(struck)

    def _is_whole(self, out: Path) -> bool:
        """Whether there is no summary after a failure, or, with all that goes with it, the one that was to be
        replaced."""
        return not (out / "summary.json").exists() or output(out) == output(self.folder / "base" / "out")

    def _run(self, day: int, work: Path) -> tuple[int, str]:
        from imgdedup_spark import cli

        said = io.StringIO()
        arguments = ["--input", self.folder / f"day{day}", "--output", work / "out", "--index", work / "index"]
        arguments += ["--run-id", f"day{day}", "--id-col", "id", "--threshold", "6", "--report", "--overwrite"]
        told = logging.StreamHandler(said)
        told.addFilter(lambda record: "could not be cleared" in record.getMessage())
        logging.getLogger("imgdedup").addHandler(told)
        with contextlib.redirect_stderr(said):
            status = cli.main([str(one) for one in arguments])
        logging.getLogger("imgdedup").removeHandler(told)
        return status, said.getvalue()

    def _fresh(self, name: str, *, replacing: bool) -> Path:
        """A folder with the index of the first day, and its output if that is to be replaced."""
        work = self.folder / name
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.folder / "base", work)
        if not replacing:
            shutil.rmtree(work / "out")
        return work

    def _set(self, *, seed: int = 0, rate: float = 0.0, kinds: tuple[str, ...] = (), late_at: int = 0) -> None:
        written = self.plan.with_suffix(".new")
        written.write_text(json.dumps({"seed": seed, "rate": rate, "kinds": kinds, "late_at": late_at}))
        written.rename(self.plan)

    def _make_days(self) -> None:
        chance = np.random.default_rng(3)
        motifs = [chance.integers(0, 255, (9, 9, 3), np.uint8) for _ in range(30)]
        for day in (1, 2):
            folder = self.folder / f"day{day}"
            folder.mkdir()
            for part in range(2):
                images = [picture(motifs[chance.integers(30)], int(chance.integers(40, 95))) for _ in range(ROWS)]
                images[5], images[6] = b"no picture", None
                ids = [f"{day}-{part}-{row}" for row in range(ROWS)]
                table = pa.table({"id": ids, "image": pa.array(images, pa.binary())})
                pq.write_table(table, folder / f"{part}.parquet", row_group_size=15)


def picture(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def output(out: Path) -> Any:
    """All tables, counts, and the names of what lies there."""
    tables = {}
    for name in ("kept", "duplicates", "errors", "hashes"):
        files = sorted((out / name).glob("part-*.parquet"))
        tables[name] = sorted(repr(row) for file in files for row in pq.ParquetFile(file).read().to_pylist())
    summary = json.loads((out / "summary.json").read_text())
    counts = {name: summary[name] for name in ("rows_in", "rows_kept", "rows_dropped", "rows_with_errors", "in_index")}
    names = sorted(one.name for one in out.iterdir() if one.name != "_staging")
    return tables, counts, names


def result(work: Path, *, cleared: bool = True) -> Any:
    """What a run has come to: all tables, what the index says, and what is left but locks, if it was to be cleared."""
    state = json.loads(max((work / "index" / "manifests").glob("*.json")).read_text())
    index = {}
    for run in state["runs"]:
        files = sorted((work / "index" / run["folder"]).glob("*.parquet"))
        index[run["run"]] = sorted(repr(row) for file in files for row in pq.ParquetFile(file).read().to_pylist())
    left = [one.name for one in (work / "out" / "_staging").glob("*") if not one.name.startswith("lock-")]
    return *output(work / "out"), index, left if cleared else []


def differences(expected: Any, found: Any) -> str:
    """Which tables of an index, or of an output, have other rows, and how many."""
    names = ("out", "summary", "files", "index", "staging")
    told = []
    for name, one, other in zip(names, expected, found, strict=True):
        if isinstance(one, dict) and isinstance(other, dict):
            told += [
                f"{name} {key}: {size(other.get(key))} for {size(one.get(key))}"
                for key in one | other
                if one.get(key) != other.get(key)
            ]
        elif one != other:
            told.append(f"{name}: {other} for {one}")
    return ", ".join(told)


def size(value: Any) -> Any:
    return f"{len(value)} rows" if isinstance(value, list) else value


if __name__ == "__main__":
    main()
