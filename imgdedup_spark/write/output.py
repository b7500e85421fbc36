"""The output folder: refused, cleared, filled, and finished by summary.json, whose presence means the run is whole.

A run that replaces a whole output writes beside it, in ``_staging``, and swaps at the end, so that the old output can
be read for as long as possible. A run that was killed is taken up again by one with the same options; what it had
finished, only if the data are the same too. One run at a time works there (``lock``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from imgdedup_spark.errors import UserError, first_line
from imgdedup_spark.files import storage
from imgdedup_spark.files.parquet import write_alone
from imgdedup_spark.files.sharing import delete_empty
from imgdedup_spark.hash.store import PRINTS
from imgdedup_spark.spark.workspace import is_workspace
from imgdedup_spark.write.lock import Lock, is_lock
from imgdedup_spark.write.parts import PARTS, SUMMARY, check_own, read_note

log = logging.getLogger("imgdedup")
STAGING = "_staging"
#: In ``_staging``: who is at work here; the summary of a run that has begun to swap; that the old parts are gone; and
#: the new ones.
_RUN, _SWAP, _CLEARED, _NEW = "run.json", "swap.json", "cleared.json", "parts"


@dataclass(frozen=True)
class Output:
    """The folder that ``--output`` names.

    Attributes:
        lock: keeps other runs out.
        beside: whether the parts are written in ``_staging``, because a whole output is there.
        fresh: whether there was nothing of an earlier attempt at the same run.
        memory: what an attempt notes for the one that takes its place.
        finished: the summary, if an earlier attempt had done everything but to say so.
        own: whether a whole output of this summary is this run's own, and needs no ``overwrite`` to be replaced.
    """

    folder: str
    lock: Lock | None = None
    beside: bool = False
    fresh: bool = True
    memory: dict[str, Any] | None = None
    finished: dict[str, Any] | None = None
    own: Callable[[dict[str, Any]], bool] = lambda summary: False

    def path(self, *names: str) -> str:
        return storage.join(storage.rooted(self.folder), *names)

    def part(self, *names: str) -> str:
        """Where this run writes a part of the output."""
        return self.path(STAGING, _NEW, *names) if self.beside else self.path(*names)

    @contextmanager
    def open(self, *, overwrite: bool, options: str = "", data: str = "") -> Iterator[Output]:
        """Makes room for a run, or takes up one that was killed; gives where to write. A run of wrong options that has
        not begun (a `UserError` in the block) leaves no trace.

        Args:
            options: a signature; a run with the same one may be taken up.
            data: a signature of all that is read; empty if that cannot be known. What a killed run had finished is
                taken for this run's if both signatures are the same.

        Raises:
            UserError: the folder holds something that is not to be, or must not be, replaced.
            JobError: another run is at work there.
        """
        missing = not storage.exists(self.folder)
        self._check(overwrite=overwrite)
        try:
            with Lock(self.path(STAGING), f"--output {self.folder}") as lock:
                opened = replace(self, lock=lock)._made_room(overwrite, options, data)
                try:
                    yield opened
                except UserError:
                    if opened.fresh:
                        self._clear_staging()
                    raise
        finally:
            if missing:
                delete_empty(self.folder)

    def _check(self, *, overwrite: bool) -> None:
        """What can be told without touching anything."""
        if storage.is_file(self.folder):
            raise UserError(f"--output {self.folder}: it is a file; name a folder")
        names = storage.list_names(self.folder)
        if names and STAGING not in names and not overwrite and not self._is_own():
            self._refuse()
        if names:
            check_own(self.folder, names, begun=self._read(_RUN) is not None)

    def _is_own(self) -> bool:
        """Whether a finished run of the same name has written what is there."""
        summary = read_note(self.path(SUMMARY))
        return summary is not None and self.own(summary)

    def _refuse(self) -> None:
        raise UserError(f"--output {self.folder}: not empty; choose another folder or add --overwrite")

    def _made_room(self, overwrite: bool, options: str, data: str) -> Output:
        earlier = self._read(_RUN)
        # An attempt at this run, rather than at another one.
        same = earlier if earlier is not None and earlier["signature"] == options else None
        whole = storage.exists(self.path(SUMMARY))
        if same is not None and data and same.get("data") == data:
            swap = self._read(_SWAP)
            if swap is not None:
                return replace(self, fresh=False, finished=self._swap(swap))
            # An attempt that has written beside this summary has not finished: the summary is the old output's.
            if whole and not overwrite and not same["beside"]:
                summary = read_note(self.path(SUMMARY))
                self._clear_staging()
                return replace(self, fresh=False, finished=summary)
        if same is None and not overwrite and not self._is_own() and not self._is_vacant():
            self._refuse()
        if not whole:
            for part in PARTS:
                storage.delete(self.path(part))
        self._clear_staging(PRINTS, _RUN)
        memory = same["memory"] if same is not None else {}
        noted = {"signature": options, "data": data, "beside": whole, "memory": memory}
        opened = replace(self, beside=whole, fresh=same is None, memory=noted)
        opened.remember()
        return opened

    def _is_vacant(self) -> bool:
        """Whether nothing is there but locks."""
        above = set(storage.list_names(self.folder)) - {STAGING}
        return not above and all(map(is_lock, storage.list_names(self.path(STAGING))))

    def _clear_staging(self, *spared: str) -> None:
        """Deletes what runs have written in ``_staging``, but no locks."""
        # A swap must not be begun again without its parts, and what has a note of its run can be taken up.
        work = [name for name in storage.list_names(self.path(STAGING)) if is_workspace(name)]
        for name in (_SWAP, _CLEARED, _NEW, *work, PRINTS, _RUN):
            if name not in spared:
                storage.delete(self.path(STAGING, name))

    def _clear_after_all(self) -> None:
        """``_clear_staging`` of a run whose summary is there: it has ended well, whatever is left."""
        try:
            self._clear_staging()
        except OSError as error:
            log.warning("%s could not be cleared, and may be deleted: %s", self.path(STAGING), first_line(error))

    def remember(self, **more: Any) -> dict[str, Any]:
        """Notes what a later attempt needs to know, and returns all that is noted."""
        assert self.memory is not None
        self.memory["memory"].update(more)
        storage.write_text(self.path(STAGING, _RUN), json.dumps(self.memory) + "\n")
        return dict(self.memory["memory"])

    def write_parquet(self, name: str, frame: DataFrame) -> None:
        frame.write.mode("overwrite").parquet(self.part(name))

    def write_table(self, name: str, table: pa.Table) -> None:
        """A table in the driver as one Parquet file."""
        write_alone(table, self.part(name))

    def write_lines(self, name: str, frame: DataFrame) -> None:
        """A few rows as one file of JSON lines."""
        lines = [json.dumps(row.asDict(recursive=True), ensure_ascii=False, default=str) for row in frame.collect()]
        storage.write_text(self.part(name, "part-00000.jsonl"), "".join(line + "\n" for line in lines))

    def check(self) -> None:
        """Raises:
        JobError: another run has taken the folder over.
        """
        assert self.lock is not None
        self.lock.check()

    def finish(self, summary: dict[str, Any]) -> None:
        """Raises:
        JobError: another run has taken the folder over.
        """
        self.check()
        if self.beside:
            storage.write_text(self.path(STAGING, _SWAP), json.dumps(summary, ensure_ascii=False, default=str))
            self._swap(summary)
            return
        self._write_summary(summary)
        self._clear_after_all()

    def _swap(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The parts in ``_staging`` take the place of the old ones. Begun once, it can be begun again."""
        # The summary goes first: without it nothing here passes for a whole run.
        if self._read(_CLEARED) is None:
            for part in PARTS:
                storage.delete(self.path(part))
            storage.write_text(self.path(STAGING, _CLEARED), "{}\n")
        for part in PARTS:
            storage.move_files(self.path(STAGING, _NEW, part), self.path(part))
        self._write_summary(summary)
        self._clear_after_all()
        return summary

    def _write_summary(self, summary: dict[str, Any]) -> None:
        text = json.dumps(summary, indent=2, ensure_ascii=False, default=str)
        storage.write_text(self.path(SUMMARY), text + "\n")

    def _read(self, name: str) -> dict[str, Any] | None:
        """One of our notes in ``_staging``; None if it is not there."""
        return read_note(self.path(STAGING, name))
