"""The summary as a text file for Prometheus, which the node exporter's textfile collector picks up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TOTALS = {
    "rows_in": "Rows of the input.",
    "rows_with_errors": "Rows with an unreadable picture.",
    "images": "Pictures of the input.",
    "groups": "Groups of duplicates.",
    "largest_group": "Rows of the largest group.",
}
_FATES = {"kept": "rows_kept", "dropped": "rows_dropped", "dropped_on_error": "rows_dropped_on_error"}


def metrics_text(summary: Mapping[str, Any], output: str, now: float) -> str:
    """The summary in Prometheus' text format. All samples have the label ``output``, so that the files of several jobs
    may lie in one folder.

    Args:
        now: when the run ended, seconds since 1970; what an alert on a run that is missing goes by.
    """
    lines = [
        *_metric("finished_timestamp_seconds", "When the run ended.", [({}, now)], output),
        *(line for name, text in _TOTALS.items() for line in _metric(name, text, [({}, summary[name])], output)),
        *_metric(
            "rows", "Rows by what became of them.",
            [({"fate": fate}, summary.get(name, 0)) for fate, name in _FATES.items()], output,
        ),
        *_metric(
            "passed_over", "What lies in the input and is no row, by reason.",
            [({"reason": reason}, one["count"]) for reason, one in summary.get("passed_over", {}).items()], output,
        ),
        *_metric(
            "stage_seconds", "Duration of the stages.",
            [({"stage": stage}, one["seconds"]) for stage, one in summary.get("stages", {}).items()], output,
        ),
    ]  # fmt: skip
    return "".join(line + "\n" for line in lines)


def _metric(name: str, text: str, samples: list[tuple[dict[str, str], float]], output: str) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP imgdedup_{name} {text}"
    yield f"# TYPE imgdedup_{name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(one)}"' for key, one in {"output": output, **labels}.items())
        yield f"imgdedup_{name}{{{shown}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
