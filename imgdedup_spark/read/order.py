"""Where rows stand in files: the list of all parts of files, which makes ids and the input order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from imgdedup_spark.read.listing import plain_path

#: A file's number and a row's number in it share one bigint: 2²⁷ files of 2³⁶ rows.
ROW_BITS = 36


@dataclass(frozen=True)
class FilePart:
    """What one task reads of a file, or the driver as a piece of it, and where it stands in the input.

    Attributes:
        input: index of the input it belongs to.
        uri: the file, percent-encoded as in ``_metadata.file_path``.
        start, length: bytes, as in ``_metadata.file_block_start`` and ``file_block_length``, or about as there.
        name: the file's name in ids.
        ordinal: the file's number in input order.
        first_row: number of the part's first row in its file, from 0.
        rows: how many rows were read in it.
        base: what to take off a row's mark in its place to get its number in the file.
    """

    input: int
    uri: str
    start: int
    length: int
    name: str
    ordinal: int
    first_row: int
    rows: int
    base: int


def find_parts(
    counts: Sequence[Any], inputs: Sequence[str], folders: Sequence[str], *, absolute: bool
) -> list[FilePart]:
    """All parts that hold rows, in input order: inputs as given, files by name, then by byte.

    Args:
        counts: of rows in parts (``FileSource.count``).
        inputs: as the user wrote them.
        folders: where the names of each input's files start.
        absolute: whether a row's mark is its number in the file.
    """
    names = _names({(one["input"], one["file"]) for one in counts}, inputs, folders)
    found = sorted(counts, key=lambda one: (one["input"], names[one["input"], one["file"]], one["start"]))
    parts: list[FilePart] = []
    by_file = groupby(found, key=lambda one: (one["input"], one["file"]))
    for ordinal, (key, group) in enumerate(by_file):
        row = 0
        for one in group:
            row = one["first"] if absolute else row
            place = (*key, one["start"], one["length"], names[key], ordinal)
            parts.append(FilePart(*place, row, one["rows"], one["first"] - row))
            row += one["rows"]
    return parts


def _names(files: set[tuple[int, str]], inputs: Sequence[str], folders: Sequence[str]) -> dict[tuple[int, str], str]:
    """Files are named by their path below the input; where two inputs have the same name, by the input too."""
    short = {}
    for index, file in files:
        path, folder = plain_path(file), folders[index].rstrip("/") + "/"
        short[index, file] = path.removeprefix(folder) if path.startswith(folder) else path.rpartition("/")[2]
    count, heads = Counter(short.values()), prefixes(inputs)
    return {
        key: name if count[name] == 1 else heads[key[0]].removesuffix(f"{name}/") + name for key, name in short.items()
    }


def prefixes(inputs: Sequence[str]) -> list[str]:
    """What tells files of the same name in several inputs apart: the input as given, numbered if given twice."""
    stems = [re.split(r"[*?\[{]", path, maxsplit=1)[0].rstrip("/") for path in inputs]
    return [f"{stem}/" if stems.count(stem) == 1 else f"{stem}[{index}]/" for index, stem in enumerate(stems)]


def runs_of_files(parts: Sequence[FilePart]) -> list[list[FilePart]]:
    """Consecutive files that one scan returns in input order, each as its first part.

    Spark reads the parts of a scan largest first. So only files of one part each, ever smaller, keep their order in one
    scan; any other file needs a scan of its own.
    """
    runs: list[list[FilePart]] = []
    last = None
    for _, group in groupby(parts, key=lambda one: one.ordinal):
        first, *others = group
        if last is not None and not others and first.input == last.input and first.length < last.length:
            runs[-1].append(first)
        else:
            runs.append([first])
        last = None if others else first
    return runs
