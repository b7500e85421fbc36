"""The examples of CONTRIBUTING.md do what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from imgdedup_spark.kernels import hashes
from imgdedup_spark.kernels.hashes import Hasher, HashSpec

ROOT = Path(__file__).parents[1]
BRIGHTNESS, IN_METHODS, LISTS, IN_KINDS = re.findall(
    r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL
)


def module(monkeypatch, name: str, text: str) -> ModuleType:
    made = ModuleType(name)
    exec(text, vars(made))
    monkeypatch.setitem(sys.modules, name, made)
    return made


def test_a_hash_method(monkeypatch, photos):
    module(monkeypatch, "imgdedup_spark.kernels.hashes.brightness", BRIGHTNESS)
    monkeypatch.setattr(hashes, "_METHODS", dict(hashes._METHODS))
    exec(IN_METHODS, vars(hashes))
    found = Hasher([HashSpec("brightness", 16)]).hash_batch([photos["A"], photos["B"]]).hashes[0]
    assert [len(one) for one in found] == [64, 64] and found[0] != found[1]


@pytest.mark.spark
def test_a_kind_of_source(monkeypatch, run, photos, tmp_path):
    from imgdedup_spark.read import open as kinds

    made = module(monkeypatch, "imgdedup_spark.read.path_lists", LISTS)
    monkeypatch.setattr(kinds, "KINDS", dict(kinds.KINDS))
    exec(IN_KINDS, {**vars(made), "KINDS": kinds.KINDS, "Kind": kinds.Kind})
    for letter in "AB":
        (tmp_path / f"{letter}.jpg").write_bytes(photos[letter])
    (tmp_path / "all.lst").write_text("A.jpg\nB.jpg\nA.jpg\n")
    result = run(tmp_path / "all.lst")
    assert result.dropped == {"all.lst#2": "all.lst#0"}
    assert [row["image"] for row in result.kept] == ["A.jpg", "B.jpg"]


def test_every_file_that_is_named_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for name in re.findall(r"`([\w/]+\.py)`", text):
        if name not in ("brightness.py", "read/path_lists.py"):
            assert (ROOT / "imgdedup_spark" / name).exists() or (ROOT / name).exists(), name
