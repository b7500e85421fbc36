"""The parts of an output folder, and what in a folder is a run's own and may be replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage

SUMMARY = "summary.json"
#: Everything a run writes. --overwrite deletes these and nothing else; the summary first.
PARTS = (SUMMARY, "kept", "marks", "duplicates", "pairs", "errors", "hashes", "report.html")
#: In ``kept/``: the names of its files, where those are the input's.
NAMES = "_names.json"
#: In ``kept/``: the name of the table that the rows have gone to.
TABLE_NOTE = "_table.json"
#: What Spark, the writers of tables and our own writers put into a folder: data, notes, checksums, drafts.
_OWN = re.compile(
    r"part-.*|_(names|table)\.json|metadata|data|_(SUCCESS|temporary|metadata|common_metadata|delta_log|versions|transactions)|_(started|committed)_.*"
    r"|\.(part-|_|[0-9a-f]{32}\.tmp|spark-staging).*"
)


def check_own(folder: str, names: Collection[str], *, begun: bool) -> None:
    """A part may be replaced if a run has written it, and all that is in it.

    Args:
        folder: of an output.
        names: of what lies in it.
        begun: whether a run has noted there that it has begun.

    Raises:
        UserError: there is something of the user's where a part would be.
    """
    parts = [name for name in PARTS if name in names]
    for name in ("_staging", *parts):
        if storage.is_link(storage.join(folder, name)):
            raise UserError(
                f"--output {folder}: {name} in it is a link, and what it leads to is not replaced; remove the link"
            )
    summary = read_note(storage.join(folder, SUMMARY)) if SUMMARY in parts else None
    if parts and not begun and (summary is None or "rows_in" not in summary):
        raise UserError(
            f"--output {folder}: {parts[0]} in it is not of a run that has written there; choose another folder"
        )
    for part in parts:
        if "." not in part:
            where = storage.join(folder, part)
            known = _named(storage.join(where, NAMES))
            # Below folders, too, where files have the input's names.
            found = [one for one, *_ in storage.list_states(where)] if known else storage.list_names(where)
            for name in found:
                if name not in known and not _OWN.fullmatch(name.rpartition("/")[2]):
                    raise UserError(
                        f"--output {folder}: {part}/{name} in it was not written by a run; move it away, or choose "
                        "another folder"
                    )


def _named(uri: str) -> frozenset[str]:
    """The names in a list of a run's own; none without one."""
    if not storage.exists(uri):
        return frozenset()
    try:
        found = json.loads(storage.read_text(uri))
    except ValueError:
        return frozenset()
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()


def read_note(uri: str) -> dict[str, Any] | None:
    """An object of JSON; None if it is not there, or is something else."""
    if not storage.exists(uri):
        return None
    try:
        found = json.loads(storage.read_text(uri))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
