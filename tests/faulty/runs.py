"""Runs the job on a file system at fault, again and again: ``python tests/faulty/runs.py [--times 50] [--seed 0]``.

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
import os
import shutil
import sys
import tempfile
from pathlib import Path

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
        good = Runs(Path(scratch)).all(options.seed, options.times)
    sys.exit(good != options.times)


class Runs:
    """Runs in one session, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan = folder, folder / "plan.json"
        os.environ |= {"IMGDEDUP_FAULTS": str(self.plan), "PYSPARK_PYTHON": sys.executable}
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._set(0, 0.0, ())
        from pyspark.sql import SparkSession

        settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "OFF"}
        settings["spark.sql.shuffle.partitions"] = "2"
        self.spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
        os.environ["IMGDEDUP_FAULTS_DRIVER"] = "1"
        sys.path.insert(0, str(HERE))
        from storage_faults import install

        install()

    def all(self, first: int, times: int) -> int:
        """How many of so many went well."""
        self._make_days()
        self._run(1, self.folder / "base")
        expected = self._undisturbed()
        good, met = 0, collections.Counter[str]()
        for seed in range(first, first + times):
            wrong, attempts, struck = self._once(seed, expected)
            met.update(struck)
            good += not wrong
            faults = " ".join(f"{name} {count}" for name, count in sorted(struck.items())) or "none"
            print(f"{seed}: {'; '.join(wrong) or 'the same'} after {attempts} attempts; faults: {faults}", flush=True)
        print(f"{good} of {times} the same; faults met: {dict(sorted(met.items()))}")
        return good

    def _undisturbed(self) -> object:
        work = self._fresh("expected")
        status, said = self._run(2, work)
        assert status == 0, said
        return result(work)

    def _once(self, seed: int, expected: object) -> tuple[list[str], int, collections.Counter[str]]:
        work, wrong = self._fresh("work"), []
        log = self.folder / "struck.txt"
        log.unlink(missing_ok=True)
        for attempt, rate in enumerate(RATES, 1):
            self._set(seed * len(RATES) + attempt, rate, KINDS[seed % len(KINDS)])
            status, said = self._run(2, work)
            self._set(0, 0.0, ())
            lines = [line for line in said.splitlines() if line.startswith("imgdedup: error")]
            if status == 0:
                break
            if len(lines) != 1 or "Traceback" in said:
                wrong.append(f"attempt {attempt} says {said[-600:]!r}")
            if (work / "out" / "summary.json").exists():
                wrong.append(f"attempt {attempt} failed and left a summary: {lines}")
        if status != 0:
            wrong.append(f"it never came to an end: {said[-600:]!r}")
        elif result(work) != expected:
            wrong.append("DIFFERENT")
        struck = collections.Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else {}
        return wrong, attempt, collections.Counter(struck)

    def _run(self, day: int, work: Path) -> tuple[int, str]:
        from imgdedup_spark import cli

        said = io.StringIO()
        arguments = ["--input", self.folder / f"day{day}", "--output", work / "out", "--index", work / "index"]
        arguments += ["--run-id", f"day{day}", "--id-col", "id", "--threshold", "6", "--report", "--overwrite"]
        with contextlib.redirect_stderr(said):
            status = cli.main([str(one) for one in arguments])
        return status, said.getvalue()

    def _fresh(self, name: str) -> Path:
        work = self.folder / name
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.folder / "base", work)
        shutil.rmtree(work / "out")
        return work

    def _set(self, seed: int, rate: float, kinds: tuple[str, ...]) -> None:
        written = self.plan.with_suffix(".new")
        written.write_text(json.dumps({"seed": seed, "rate": rate, "kinds": kinds}))
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


def result(work: Path) -> object:
    """What a run has come to: all tables, and what the index says."""
    out = work / "out"
    tables = {}
    for name in ("kept", "duplicates", "errors", "hashes"):
        files = sorted((out / name).glob("part-*.parquet"))
        tables[name] = sorted(repr(row) for file in files for row in pq.ParquetFile(file).read().to_pylist())
    state = json.loads(max((work / "index" / "manifests").glob("*.json")).read_text())
    index = {}
    for run in state["runs"]:
        files = sorted((work / "index" / run["folder"]).glob("*.parquet"))
        index[run["run"]] = sorted(repr(row) for file in files for row in pq.ParquetFile(file).read().to_pylist())
    summary = json.loads((out / "summary.json").read_text())
    counts = {name: summary[name] for name in ("rows_in", "rows_kept", "rows_dropped", "rows_with_errors", "in_index")}
    leavings = sorted(one.name for one in out.iterdir())
    return tables, index, counts, leavings


if __name__ == "__main__":
    main()
