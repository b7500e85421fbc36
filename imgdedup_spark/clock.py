"""How long the stages of a run take."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

log = logging.getLogger("imgdedup")


class Running(NamedTuple):
    """A stage at work.

    Attributes:
        started: by ``time.perf_counter``.
    """

    name: str
    started: float


_running: list[Running] = []


def running() -> Running | None:
    """The stage that this process is at, the innermost of several."""
    return _running[-1] if _running else None


@dataclass
class Clock:
    """Times the stages, for the log and summary.json."""

    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Times the body, and tells what it puts into the entry."""
        entry: dict[str, Any] = {}
        started = time.perf_counter()
        _running.append(Running(name, started))
        try:
            yield entry
        finally:
            _running.pop()
        self.stages[name] = {"seconds": round(time.perf_counter() - started, 3), **entry}
        shown = ", ".join(
            f"{value:,} {key}" if isinstance(value, int) else f"{key} {value}" for key, value in entry.items()
        )
        facts = {"stage": name, **self.stages[name]}
        log.info("%s: %.1f s%s", name, facts["seconds"], f", {shown}" if shown else "", extra={"facts": facts})
