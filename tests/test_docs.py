"""README and docs: the programs understand every command, links lead somewhere, and every option is told of."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import imgdedup_spark
from imgdedup_spark import DedupConfig, deduplicate, hash_bytes
from imgdedup_spark.api import DedupResult
from imgdedup_spark.config import command_line
from imgdedup_spark.config.command_line import COMMANDS
from imgdedup_spark.config.declared import OPTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
EXTRAS = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE))
#: Programs of others, whose options are theirs.
OTHERS = {"zip", "cd", "aws", "databricks", "airflow", "hf", "export", "SPARK_REMOTE=sc://host:15002"}


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Page and command: of blocks, a line each, and what stands in tables and text."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip():
                    yield page.name, line.strip()
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for found in re.findall(r"`((?:imgdedup(?:-\w+)?|spark-submit) (?:[^`]* )?--[^`]*)`", text):
            yield page.name, found


class Parsed(Exception):
    """Options were understood."""


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Reads a command's options, and does nothing else."""
    parse_args = command_line.Parser.parse_args

    def parse_only(self, arguments):
        parse_args(self, arguments)
        raise Parsed

    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "job.yaml").write_text("input: in\noutput: out\n")
    monkeypatch.chdir(tmp_path)

    def read(arguments, *, fingerprint=False):
        if arguments and arguments[0] in COMMANDS:
            command = importlib.import_module(f"imgdedup_spark.commands.{arguments[0]}")
            with monkeypatch.context() as patch, pytest.raises(Parsed):
                patch.setattr(command_line.Parser, "parse_args", parse_only)
                command.run(arguments[1:], contextlib.nullcontext)
        else:
            command_line.read_options(arguments, fingerprint=fingerprint)

    return read


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_a_command(parse, page, command):
    program, *arguments = shlex.split(re.sub(r"\s#.*", "", command))
    if any(one in ("…", "[options]", "DIR", "ID", "FILE") or one.startswith("PATH…") for one in arguments):
        return  # how it is written, and no example
    if program in ("imgdedup", "imgdedup-fingerprint"):
        parse(arguments, fingerprint=program == "imgdedup-fingerprint")
    elif program == "spark-submit":
        [script] = [one for one in arguments if re.search(r"(^|/)jobs/\w+\.py$", one)]
        assert (ROOT / "jobs" / Path(script).name).is_file()
        rest = arguments[arguments.index(script) + 1 :]
        name = Path(script).stem
        parse([*([name] if name in COMMANDS else []), *rest], fingerprint=name == "fingerprint")
    elif program == "make":
        targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
        assert set(arguments) <= targets
    elif program == "python":
        assert (ROOT / arguments[0]).is_file() or arguments[0] == "-m"
    elif program == "pip":
        extras = re.findall(r"imgdedup-spark\[(\w+)\]", command)
        assert arguments[0] == "install" and set(extras) <= EXTRAS
    else:
        assert program in OTHERS, f"{page}: no test knows {program}"


def test_examples_in_python():
    """Names that are imported are there, and so are arguments and what is asked of a result."""
    takes = {
        "DedupConfig": {one.name for one in dataclasses.fields(DedupConfig)},
        "deduplicate": set(inspect.signature(deduplicate).parameters),
        "hash_bytes": set(inspect.signature(hash_bytes).parameters),
        "ImageHasher": set(inspect.signature(imgdedup_spark.ImageHasher.__init__).parameters),
    }
    called = set()
    for page in PAGES[:-1]:  # CONTRIBUTING's are run by test_contributing.py
        for block in blocks(page, "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module == "imgdedup_spark":
                    assert {one.name for one in node.names} <= set(imgdedup_spark.__all__), page
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in takes:
                    called.add(node.func.id)
                    assert {one.arg for one in node.keywords} <= takes[node.func.id], (page, ast.unparse(node))
                if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "result":
                    assert hasattr(DedupResult, node.attr), (page, node.attr)
    assert called == set(takes)


def test_examples_in_yaml():
    read = [yaml.safe_load(block) for page in PAGES for block in blocks(page, "yaml")]
    assert read and all(set(one) <= {*OPTIONS, "stages"} for one in read)


def test_links():
    for page in PAGES:
        text = page.read_text("utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), (page.name, target)
            if anchor:
                heads = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
                assert anchor in {_anchor(one) for one in heads}, (page.name, target)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_option_is_in_the_table():
    table = (ROOT / "docs" / "options.md").read_text("utf-8")
    told = set(re.findall(r"^\| `--([\w-]+)", table, re.MULTILINE))
    told |= set(re.findall(r" / `--(no-[\w-]+)`", table)) - {"no-tolerant"}
    assert told - {"config"} == {name.replace("_", "-") for name in OPTIONS}


def test_pages_are_reached_from_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    assert all(f"(docs/{page.name})" in text for page in (ROOT / "docs").glob("*.md"))
    assert len(text.splitlines()) < 150


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    listed = {line.rpartition(".")[2] for line in text.splitlines() if line.startswith("::: ")}
    assert listed == set(imgdedup_spark.__all__) - {"__version__"}
    for line in text.splitlines():
        if line.startswith("::: imgdedup_spark."):
            module, _, name = line.removeprefix("::: ").rpartition(".")
            assert getattr(importlib.import_module(module), name) is getattr(imgdedup_spark, name)
