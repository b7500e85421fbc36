"""``metadata.csv`` and ``metadata.jsonl`` beside pictures, as Hugging Face's ``imagefolder`` has them: a line for each
picture, which ``file_name`` names from the metadata file's folder on; or for each few, one in each ``…_file_name``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.csv_rows import csv_rows
from imgdedup_spark.files.json_lines import row_texts
from imgdedup_spark.files.json_rows import Columns, Fields, parse_row
from imgdedup_spark.files.listing import Listed, PassedOver
from imgdedup_spark.files.shares import Share

NAMES = ("metadata.csv", "metadata.jsonl")
#: The field that names a line's picture.
KEY = "file_name"
Line = Mapping[str, Any]


def is_metadata(file: Listed) -> bool:
    """Whether a file is one by its name."""
    return file.name.rpartition("/")[2] in NAMES


@dataclass
class Metadata:
    """The lines of all metadata files.

    Attributes:
        lines: what each says besides its picture's name, by input and name of the picture below it.
        passed: lines that no picture has are counted here, as ``metadata_line``.
    """

    passed: PassedOver
    lines: dict[tuple[int, str], Line] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Sequence[Sequence[Listed]], passed: PassedOver) -> Metadata:
        """Reads the metadata files among those of each input.

        Raises:
            UserError: a header names a column twice.
            OSError: a file cannot be read.
        """
        found = cls(passed)
        for index, some in enumerate(files):
            for file in filter(is_metadata, some):
                folder = posixpath.dirname(file.name)
                for number, (line, problem) in enumerate(_lines(file)):
                    names = [] if problem else _named(line)
                    keys = {(index, posixpath.normpath(posixpath.join(folder, name))) for name in names}
                    if not keys or keys & found.lines.keys():
                        passed.add("metadata_line", f"{file.uri} line {number}")
                    rest = {field: value for field, value in line.items() if field != KEY}
                    found.lines |= dict.fromkeys(keys - found.lines.keys(), rest)
        return found

    def columns(self, *, by_case: bool) -> Columns:
        """What columns the lines have.

        Args:
            by_case: as ``Fields.columns``.

        Raises:
            UserError: they have a name that pictures' own columns have.
        """
        fields = Fields()
        fields.add(list(self.lines.values()))
        made = fields.columns(by_case=by_case)
        for name in made.kinds:
            if name.lower() in ("path", "image"):
                raise UserError(f"--input: the metadata has a column `{name}`, as the pictures themselves: rename it")
        return made

    def match(self, pictures: set[tuple[int, str]]) -> None:
        """Counts the lines of no picture."""
        for _, name in sorted(self.lines.keys() - pictures):
            self.passed.add("metadata_line", name)


def _named(line: Line) -> list[str]:
    """The pictures of a line."""
    fields = [KEY] if KEY in line else [field for field in line if field.endswith(f"_{KEY}")]
    return [name for name in map(line.get, fields) if isinstance(name, str) and name]


def _lines(file: Listed) -> Iterator[tuple[Line, str | None]]:
    if file.name.endswith(".csv"):
        yield from csv_rows(file.uri)
        return
    for text in row_texts(Share(file.uri, 0, 0, 0, file.size)):
        row = parse_row(text)
        yield (row, None) if isinstance(row, dict) else ({}, row)
