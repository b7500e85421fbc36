"""What fuzzing has found, and what it begins with."""

from pathlib import Path

import pytest
from targets import TARGETS, seeds

FOUND = sorted((Path(__file__).parent / "found").glob("*/*"))


@pytest.mark.parametrize("file", FOUND, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_found(file):
    TARGETS[file.parent.name](file.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target, tmp_path):
    seeds(target, tmp_path)
    for file in sorted(tmp_path.iterdir()):
        TARGETS[target](file.read_bytes())
