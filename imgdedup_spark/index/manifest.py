"""The index: fingerprints of everything kept so far, as Parquet that other tools can read.

    DIR/manifests/00000012.json          the state: the highest number counts, and only the folders it names
    DIR/data/run=<id>/<token>/*.parquet  what one run added
    DIR/packed/<token>/*.parquet         the hashes of that once more, for quick comparison (see packed)
    DIR/never/<token>/pairs.parquet      the pairs of ids that the run never matched (--never)

A run writes its rows into a folder of its own and then commits by creating the manifest of the next number. That
number can be created once only: of two runs at a time the second fails, and nothing that the state names is ever
changed. Whatever a killed run leaves behind is named by no manifest and counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.sharing import create_exclusively, one_wins

FORMAT = 1
#: Manifests that stay, for whoever wants to look back.
MANIFESTS_KEPT = 5
_TOKEN = re.compile(r"[0-9a-f]{32}")
#: How deep the folders lie that one attempt writes, named by its token.
_UNIT_DEPTH = {"data": 3, "packed": 2, "never": 2, "fingerprints": 2, "_staging": 2}
#: What runs write before the first manifest: all of it in folders with names that nobody else gives.
_LEAVINGS = re.compile(
    r"(data/run=[^/]*/[0-9a-f]{32}/|(packed|never|fingerprints|_staging)/[0-9a-f]{32}[/.]|(fingerprints|manifests)/\.).*",
    re.DOTALL,
)
_NAME = re.compile(r"(\d{8,})\.json")


@dataclass(frozen=True)
class Run:
    """What one run added.

    Attributes:
        run: its id.
        folder: where its rows lie, relative to the index.
        rows: how many.
        distinct: whether no two rows of all runs so marked have the same key, but for some that are never matched.
        digits: fewest and most hex digits of its hashes, or numbers in an embedding; (0, 0) without rows.
        packed: where its hashes lie once more, packed, relative to the index; empty where they do not.
        never: where pairs of ids lie that are never matched, relative to the index; empty for none.
    """

    run: str
    folder: str
    rows: int
    distinct: bool
    digits: tuple[int, int] = (0, 0)
    packed: str = ""
    never: str = ""

    @property
    def folders(self) -> list[str]:
        return [folder for folder in (self.folder, self.packed, self.never) if folder]


@dataclass(frozen=True)
class State:
    """What an index holds.

    Attributes:
        number: of the manifest; 0 for an index that is not there yet.
        spec: how its fingerprints were made (``fingerprint_spec``).
        runs: in the order in which they were first added.
    """

    number: int = 0
    spec: dict[str, Any] | None = None
    runs: tuple[Run, ...] = ()

    def without(self, run: str) -> State:
        return replace(self, runs=tuple(one for one in self.runs if one.run != run))

    def with_run(self, added: Run, spec: dict[str, Any]) -> State:
        """A run that is there already is replaced where it stands, so that the order of the runs stays."""
        runs = list(self.runs)
        places = [place for place, one in enumerate(runs) if one.run == added.run]
        if places:
            runs[places[0]] = added
        else:
            runs.append(added)
        return State(self.number + 1, spec, tuple(runs))


@dataclass(frozen=True)
class Index:
    """The folder that ``--index`` names."""

    folder: str

    def read(self) -> State:
        """Raises:
        UserError: what is there is no index, or one of a newer format.
        """
        numbers = self._numbers()
        if not numbers:
            if not storage.is_empty_or_missing(self.folder) and not self._is_untouched():
                raise UserError(f"--index {self.folder}: it holds other files and no index; name an empty folder")
            return State()
        try:
            found = json.loads(storage.read_text(self._manifest(numbers[-1])))
            if found["format"] != FORMAT:
                raise UserError(
                    f"--index {self.folder}: it has format {found['format']} and this version knows {FORMAT}; upgrade"
                )
            runs = tuple(Run(**{**one, "digits": tuple(one["digits"])}) for one in found["runs"])
            return State(numbers[-1], found["spec"], runs)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--index {self.folder}: {self._manifest(numbers[-1])} is no manifest of an index: {error}"
            ) from None

    def one_commits(self) -> bool:
        """Whether of two runs that commit at the same moment one alone can."""
        return one_wins(self.path("manifests"))

    def data_folder(self, run: str, token: str) -> str:
        """Relative to the index. ``run=`` is what readers of partitioned data make a column of."""
        return f"data/run={quote(run, safe='')}/{token}"

    def packed_folder(self, token: str) -> str:
        return f"packed/{token}"

    def never_folder(self, token: str) -> str:
        return f"never/{token}"

    def pairs(self, run: Run) -> str:
        """The file of the pairs of a run that has some."""
        return self.path(run.never, "pairs.parquet")

    def path(self, *names: str) -> str:
        return storage.join(storage.rooted(self.folder), *names)

    def discard(self, run: str, token: str) -> None:
        """Deletes what an attempt has written that will not commit."""
        for folder in (self.data_folder(run, token), self.packed_folder(token), self.never_folder(token)):
            storage.delete(self.path(folder))

    def commit(self, before: State, after: State) -> None:
        """Makes ``after`` the state, if it still is ``before``.

        Raises:
            JobError: another run has committed meanwhile.
        """
        content = {
            "format": FORMAT,
            "token": uuid.uuid4().hex,
            "spec": after.spec,
            "runs": [asdict(run) for run in after.runs],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        numbers = self._numbers()
        won = (numbers[-1] if numbers else 0) == before.number and create_exclusively(
            self._manifest(after.number), text
        )
        # A run that slept through several commits could create a number that has been cleared away since.
        if won and self._numbers()[-1] != after.number:
            storage.delete(self._manifest(after.number))
            won = False
        if not won:
            raise JobError(
                f"--index {self.folder}: another run has changed it meanwhile, and this run has added nothing; "
                "run it again"
            )
        # What cannot be deleted now does no harm: no manifest names it any longer.
        with contextlib.suppress(OSError):
            self._clear(before, after)

    def _clear(self, before: State, after: State) -> None:
        """Deletes what the new state has replaced. Other folders may belong to runs that are still at work."""
        named = {folder for run in after.runs for folder in run.folders}
        for folder in {folder for run in before.runs for folder in run.folders} - named:
            storage.delete(self.path(folder))
        for number in self._numbers()[:-MANIFESTS_KEPT]:
            storage.delete(self._manifest(number))
        self._sweep(named)

    def _sweep(self, named: Collection[str]) -> None:
        """Deletes what runs that were killed have left, once it is old enough to belong to nobody.

        Args:
            named: folders that the state names.
        """
        changed: dict[str, float] = {}
        files = storage.list_changes(self.folder)
        for name, time_ in files:
            parts = name.split("/")
            depth = _UNIT_DEPTH.get(parts[0], len(parts))
            # A folder of another name is nobody's leavings, whoever has put it there.
            if len(parts) > depth and _TOKEN.fullmatch(parts[depth - 1]):
                unit = "/".join(parts[:depth])
                changed[unit] = max(time_, changed.get(unit, 0.0))
        whole = {name.removesuffix(".json") for name, _ in files}
        for unit, time_ in changed.items():
            if unit not in named and unit not in whole and time_ < time.time() - storage.LEFT_ALONE_SECONDS:
                storage.delete(self.path(unit))

    def _manifest(self, number: int) -> str:
        return self.path("manifests", f"{number:08d}.json")

    def _numbers(self) -> list[int]:
        names = (uri.rpartition("/")[2] for uri in storage.list_files(self.path("manifests")))
        return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)

    def _is_untouched(self) -> bool:
        """Whether nothing but the leavings of a first run that was killed is there."""
        return all(_LEAVINGS.fullmatch(name) for name, _ in storage.list_changes(self.folder))


def is_index(folder: str) -> bool:
    """Whether ``--against`` names an index, rather than a data set."""
    try:
        return bool(Index(folder)._numbers())
    except UserError:  # a data set on a file system that Spark alone can open
        return False
