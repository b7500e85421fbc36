"""Before anything is touched: does what a run writes lie apart from what it reads, by whatever names they are given?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from pyspark.sql import DataFrame

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.places import Place, check_apart, check_spared, reached
from imgdedup_spark.read.source import Source
from imgdedup_spark.spark.roots import read_roots


def on_same_file_system(path: str, source: Source) -> str:
    """An output without a scheme lies where Spark found the inputs without one: on its default file system."""
    bases = [root.base for root in source.roots if root.base]
    if not bases or not storage.is_local(path) or path.startswith("file:"):
        return path
    return f"{bases[0]}/{path.lstrip('/')}"


def check_places(config: JobConfig, source: Source) -> None:
    """Raises:
    UserError: of the output and the index one lies where it would be read, or would replace what is read.
    """

    def place(option: str, path: str) -> Place:
        return Place.of(option, on_same_file_system(path, source))

    inputs = [one for number in range(len(source.inputs)) for one in _of_input(source, number)]
    against = [one for path in config.against for one in _read("--against", on_same_file_system(path, source))]
    background = [
        one
        for path in config.dedup.background_sets
        for one in _read("--background-set", on_same_file_system(path, source))
    ]
    # Pictures and models may lie above what is written, as everything does in the folder of a project.
    spared = [Place.of("--model", path) for path in _models(config.dedup)]
    if config.dedup.never is not None:
        spared.append(Place.of("--never", config.dedup.never))
    if config.dedup.image_root is not None:
        spared.append(place("--image-root", config.dedup.image_root))
    index = [place("--index", config.index)] if config.index is not None else []
    output = [place("--output", config.output)] if config.output else []
    pairs = [(one, [*inputs, *background, *against, *index]) for one in output]
    pairs += [(one, [*inputs, *background]) for one in index]
    for written, read in pairs:
        check_apart(written, read)
        check_spared(written, spared)
    _check_references(index, against)
    head = storage.read_head(config.metrics) if config.metrics is not None else b""
    if head and not head.startswith(b"# HELP imgdedup_"):
        raise UserError(f"--metrics {config.metrics}: is there and holds no metrics of this job; choose another file")


def check_call(
    df: DataFrame, config: DedupConfig, staging: str | None, index: str | None, against: Sequence[str]
) -> None:
    """The same for a call from Python.

    Raises:
        UserError: see ``check_places``; or the staging folder is read from.
    """
    if staging is None and index is None:
        return
    background = [one for path in config.background_sets for one in _read("--background-set", path)]
    references = [one for path in against for one in _read("--against", path)]
    if index is not None:
        mine = Place.of("--index", index)
        check_apart(mine, [*_of_files("the input", df.inputFiles()), *background])
        _check_references([mine], references)
        references.append(mine)
    if staging is not None:
        # A folder of its own is made there: what it must not lie in is what is read, or an index.
        work = Place.of("staging", staging)
        for other in [*references, *background, *(Place.of("the input", path) for path in read_roots(df))]:
            if other.holds(work):
                raise UserError(f"{work.named}: it lies in {other.named}; choose another folder")


def _check_references(index: Iterable[Place], against: Iterable[Place]) -> None:
    """An index may be read as a reference and added to, but neither may be part of the other."""
    for mine in index:
        check_apart(mine, [one for one in against if (one.store, one.path) != (mine.store, mine.path)])


def _of_input(source: Source, number: int) -> list[Place]:
    root = source.roots[number]
    if not root.base and storage.is_local(root.read):
        # A table's name leads nowhere as a path, and Spark knows its files.
        tables = [] if source.states else _of_files("the input", source.frame.inputFiles())
        return [*reached("the input", source.inputs[number]), *tables]
    if not source.divisible:
        return [Place.of("the input", root.read)]
    files = _of_files("the input", (one.uri for one in source.states if one.input == number))
    return [Place.of("the input", root.read), *files]


def _read(option: str, path: str) -> list[Place]:
    return reached(option, path) if storage.is_local(path) else [Place.of(option, path)]


def _of_files(option: str, uris: Iterable[str]) -> list[Place]:
    """Of files as Spark lists them, one for each folder and each link."""
    places, seen = [], set()
    for uri in uris:
        path = storage.absolute(storage.from_spark(uri))
        folder = path.rpartition("/")[0]
        if folder not in seen or storage.is_link(path):
            seen.add(folder)
            places.append(Place.of(option, path))
    return places


def _models(config: DedupConfig) -> list[str]:
    """The models that are local files or folders."""
    return [step.model for step in config.steps if storage.is_local(step.model) and storage.exists(step.model)]


def is_same_run(summary: Mapping[str, Any], config: JobConfig, source: Source) -> bool:
    """Whether a finished run had this one's ``--run-id`` in the same index: this run replaces what that one wrote. Not
    so a dry run, which replaces nothing in the index, and not what somebody has reviewed."""
    if config.run_id is None or config.run_id != summary.get("run_id") or config.dry_run or summary.get("reviewed"):
        return False
    index = summary.get("config", {}).get("index")
    if config.index is None or not isinstance(index, str):
        return False
    here, there = (Place.of("--index", on_same_file_system(path, source)) for path in (config.index, index))
    return (here.store, here.path) == (there.store, there.path)


def data_signature(config: JobConfig, source: Source) -> str:
    """Of all files that are read, by name, size and time; empty where that cannot be known."""
    read = (*config.against, *config.dedup.background_sets)
    more = [*(on_same_file_system(path, source) for path in read), *_models(config.dedup)]
    more += [config.dedup.never] if config.dedup.never is not None else []
    try:
        if not source.states or not all(map(storage.exists, more)):
            return ""
        states = [[astuple(one) for one in source.states], *map(storage.list_states, more)]
    except UserError:  # what Spark alone can open
        return ""
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()
