"""The examples of CONTRIBUTING.md do what it says."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from imgdedup_spark.kernels.hashes import HashSpec, methods
from imgdedup_spark.kernels.hashes.hasher import Hasher

ROOT = Path(__file__).parents[1]
BRIGHTNESS, IN_METHODS, URIS, IN_KINDS = re.findall(
    r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL
)


def module(monkeypatch, name: str, text: str) -> ModuleType:
    made = ModuleType(name)
    exec(text, vars(made))
    monkeypatch.setitem(sys.modules, name, made)
    return made


def test_a_hash_method(monkeypatch, photos):
    module(monkeypatch, "imgdedup_spark.kernels.hashes.brightness", BRIGHTNESS)
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    exec(IN_METHODS, vars(methods))
    found = Hasher([HashSpec("brightness", 16)]).hash_batch([photos["A"], photos["B"]]).hashes[0]
    assert [len(one) for one in found] == [64, 64] and found[0] != found[1]


@pytest.mark.spark
def test_a_kind_of_source(monkeypatch, run, photos, tmp_path):
    from imgdedup_spark.read import open as kinds

    made = module(monkeypatch, "imgdedup_spark.read.data_uris", URIS)
    monkeypatch.setattr(kinds, "KINDS", dict(kinds.KINDS))
    exec(IN_KINDS, {**vars(made), "KINDS": kinds.KINDS, "Kind": kinds.Kind})
    lines = {letter: f"data:;base64,{base64.b64encode(photos[letter]).decode()}" for letter in "AB"}
    (tmp_path / "all.uris").write_text("\n".join(lines[letter] for letter in "ABA"))
    result = run(tmp_path / "all.uris")
    assert result.dropped == {"all.uris#2": "all.uris#0"}
    assert [row["image"] for row in result.kept] == [lines["A"], lines["B"]]


def test_every_file_that_is_named_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for name in re.findall(r"`([\w/]+\.py)`", text):
        if name not in ("brightness.py", "read/data_uris.py"):
            assert (ROOT / "imgdedup_spark" / name).exists() or (ROOT / name).exists(), name


def test_no_file_is_longer_than_one_reads():
    long = {
        path.name: lines
        for path in (ROOT / "imgdedup_spark").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert long == {}
