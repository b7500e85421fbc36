"""A file system that fails, delays, lists late, tears writes and fills up: nothing is lost, and nothing looks whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(os.environ.get("IMGDEDUP_TEST_SPARK") == "connect", reason="starts its own session"),
    pytest.mark.skipif(pyspark.__version__.startswith("3."), reason="the driver's and workers' own code, which is one"),
]


@pytest.mark.long
def test_runs_on_a_file_system_at_fault_end_as_others():
    """50 runs with faults at random, and one for each listing that may come late."""
    script = Path(__file__).parents[1] / "faulty" / "runs.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "\n50 of 50 the same; faults met: " in done.stdout
    assert "the same with a listing that came late" in done.stdout.splitlines()[-1]
