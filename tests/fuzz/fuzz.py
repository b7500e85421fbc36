"""Fuzzing with atheris, guided by coverage (``make fuzz``).

python tests/fuzz/fuzz.py pictures|rows|config [options of libFuzzer] [CORPUS]   # -max_total_time=60, say

The decoder that is fuzzed runs in this process, without the helper process that guards a job against it. What is found
goes into ``found/``, and ``test_found.py`` tries it in every run of the tests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["imgdedup_spark"]):
    from targets import TARGETS, seeds


def main() -> None:
    target, *options = sys.argv[1:]
    own = Path(tempfile.mkdtemp()) / target
    seeds(target, own)
    atheris.Setup([sys.argv[0], *options, str(own)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
