"""The output folder: refused, cleared, filled, and finished by summary.json, whose presence means the run is whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from imgdedup_spark import storage
from imgdedup_spark.errors import UserError

SUMMARY = "summary.json"
#: Everything a run writes. --overwrite deletes these and nothing else.
PARTS = (SUMMARY, "kept", "duplicates", "pairs", "errors", "hashes", "report.html", "_staging")


@dataclass(frozen=True)
class Output:
    """The folder that ``--output`` names."""

    folder: str

    def path(self, *names: str) -> str:
        return storage.join(self.folder, *names)

    def open(self, *, overwrite: bool, inputs: Sequence[str]) -> None:
        """Makes room for a run.

        Args:
            inputs: plain paths of the input's roots and files: an output among them would be read, or deleted.

        Raises:
            UserError: the folder holds something, or lies where it would destroy the input.
        """
        mine = storage.absolute(self.folder).rstrip("/") + "/"
        for path in inputs:
            other = storage.absolute(path).rstrip("/") + "/"
            if other.startswith(mine):
                raise UserError(f"--output {self.folder}: the input {path} lies in it; choose another folder")
            if mine.startswith(other):
                raise UserError(f"--output {self.folder}: it lies in the input {path}; choose another folder")
        if storage.is_empty_or_missing(self.folder):
            return
        if not overwrite:
            raise UserError(f"--output {self.folder}: not empty; choose another folder or add --overwrite")
        # The summary goes first: without it nothing here passes for a whole run.
        for part in PARTS:
            storage.delete(self.path(part))

    def write_parquet(self, name: str, frame: DataFrame) -> None:
        frame.write.mode("overwrite").parquet(self.path(name))

    def write_lines(self, name: str, frame: DataFrame) -> None:
        """A few rows as one file of JSON lines."""
        lines = [json.dumps(row.asDict(recursive=True), ensure_ascii=False, default=str) for row in frame.collect()]
        storage.write_text(self.path(name, "part-00000.jsonl"), "".join(line + "\n" for line in lines))

    def finish(self, summary: dict[str, Any]) -> None:
        storage.delete(self.path("_staging"))
        storage.write_text(self.path(SUMMARY), json.dumps(summary, indent=2, ensure_ascii=False, default=str) + "\n")
