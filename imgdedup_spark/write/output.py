"""The output folder: refused, cleared, filled, and finished by summary.json, whose presence means the run is whole.

A run that replaces a whole output writes beside it, in ``_staging``, and swaps at the end, so that the old output can
be read for as long as possible. A run that was killed is taken up again by one with the same options.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import DataFrame

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage

SUMMARY = "summary.json"
STAGING = "_staging"
#: Everything a run writes. --overwrite deletes these and nothing else.
PARTS = (SUMMARY, "kept", "duplicates", "pairs", "errors", "hashes", "report.html", STAGING)
#: In ``_staging``: who is at work here; the summary of a run that has begun to swap; that the old parts are gone.
_RUN, _SWAP, _CLEARED = "run.json", "swap.json", "cleared.json"


@dataclass(frozen=True)
class Output:
    """The folder that ``--output`` names.

    Attributes:
        beside: whether the parts are written in ``_staging``, because a whole output is there.
        fresh: whether there was nothing of an earlier attempt at the same run.
        made: whether there was no such folder.
        memory: what an attempt notes for the one that takes its place.
        finished: the summary, if an earlier attempt had done everything but to say so.
    """

    folder: str
    beside: bool = False
    fresh: bool = True
    made: bool = False
    memory: dict[str, Any] | None = None
    finished: dict[str, Any] | None = None

    def path(self, *names: str) -> str:
        return storage.join(self.folder, *names)

    def part(self, *names: str) -> str:
        """Where this run writes a part of the output."""
        return self.path(STAGING, "parts", *names) if self.beside else self.path(*names)

    def open(self, *, overwrite: bool, inputs: Sequence[str], signature: str = "") -> Output:
        """Makes room for a run, or takes up one that was killed; returns where to write.

        Args:
            inputs: plain paths of the input's roots and files: an output among them would be read, or deleted.
            signature: of the options; a run with the same one may be taken up.

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
        memory: dict[str, Any] = {}
        whole, same = False, None
        made = not storage.exists(self.folder)
        if not storage.is_empty_or_missing(self.folder):
            earlier = self._read(_RUN)
            # An attempt at this run, rather than at another one.
            same = earlier if earlier is not None and earlier["signature"] == signature else None
            swap = self._read(_SWAP)
            if same is not None and swap is not None:
                return replace(self, finished=self._swap(swap))
            whole = storage.exists(self.path(SUMMARY))
            # An attempt that has written beside this summary has not finished: the summary is the old output's.
            if same is not None and whole and not overwrite and not same["beside"]:
                summary = json.loads(storage.read_text(self.path(SUMMARY)))
                storage.delete(self.path(STAGING))
                return replace(self, finished=summary)
            if not overwrite and same is None:
                raise UserError(f"--output {self.folder}: not empty; choose another folder or add --overwrite")
            memory = same["memory"] if same is not None else {}
            for part in PARTS[1:]:
                if part != STAGING and not whole:
                    storage.delete(self.path(part))
            for leftover in ("parts", _SWAP, _CLEARED):
                storage.delete(self.path(STAGING, leftover))
        opened = replace(
            self,
            beside=whole,
            fresh=same is None,
            made=made,
            memory={"signature": signature, "beside": whole, "memory": memory},
        )
        opened.remember()
        return opened

    def abandon(self) -> None:
        """Leaves no trace of a run that has not begun: its options were wrong."""
        if self.fresh:
            storage.delete(self.path(STAGING))
        if self.made and storage.is_empty_or_missing(self.folder):
            storage.delete(self.folder)

    def remember(self, **more: Any) -> dict[str, Any]:
        """Notes what a later attempt needs to know, and returns all that is noted."""
        assert self.memory is not None
        self.memory["memory"].update(more)
        storage.write_text(self.path(STAGING, _RUN), json.dumps(self.memory) + "\n")
        return dict(self.memory["memory"])

    def write_parquet(self, name: str, frame: DataFrame) -> None:
        frame.write.mode("overwrite").parquet(self.part(name))

    def write_lines(self, name: str, frame: DataFrame) -> None:
        """A few rows as one file of JSON lines."""
        lines = [json.dumps(row.asDict(recursive=True), ensure_ascii=False, default=str) for row in frame.collect()]
        storage.write_text(self.part(name, "part-00000.jsonl"), "".join(line + "\n" for line in lines))

    def finish(self, summary: dict[str, Any]) -> None:
        if self.beside:
            storage.write_text(self.path(STAGING, _SWAP), json.dumps(summary, ensure_ascii=False, default=str))
            self._swap(summary)
            return
        self._write_summary(summary)
        storage.delete(self.path(STAGING))

    def _swap(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The parts in ``_staging`` take the place of the old ones. Begun once, it can be begun again."""
        # The summary goes first: without it nothing here passes for a whole run.
        if self._read(_CLEARED) is None:
            for part in PARTS:
                if part != STAGING:
                    storage.delete(self.path(part))
            storage.write_text(self.path(STAGING, _CLEARED), "{}\n")
        storage.move_files(self.path(STAGING, "parts"), self.folder)
        self._write_summary(summary)
        storage.delete(self.path(STAGING))
        return summary

    def _write_summary(self, summary: dict[str, Any]) -> None:
        text = json.dumps(summary, indent=2, ensure_ascii=False, default=str)
        storage.write_text(self.path(SUMMARY), text + "\n")

    def _read(self, name: str) -> dict[str, Any] | None:
        """One of our notes in ``_staging``; None if it is not there."""
        uri = self.path(STAGING, name)
        if not storage.exists(uri):
            return None
        found: dict[str, Any] = json.loads(storage.read_text(uri))
        return found
