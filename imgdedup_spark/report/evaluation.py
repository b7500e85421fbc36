"""An evaluation as text and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imgdedup_spark.report.explain import printable
from imgdedup_spark.report.page import template

#: Of the chart, in its own units.
_WIDTH, _HEIGHT = 600, 240
_CURVES = ("recall", "precision", "f1")


def evaluation_text(summary: Mapping[str, Any]) -> str:
    """As lines of text.

    Args:
        summary: as ``evaluate.run`` returns it.
    """
    return "\n".join(_lines(summary))


def _lines(summary: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{summary['rows']:,} rows, {summary['pairs']:,} pairs of copies in {summary['groups']:,} groups "
        f"({printable(str(summary['truth']))})"
    )
    yield ""
    head = ("threshold" if summary["by"] == "threshold" else "cosine", *_CURVES, "missed", "false")
    yield f"{head[0]:>9}  {head[1]:>22}  {head[2]:>22}  {head[3]:>22}  {head[4]:>9}  {head[5]:>9}"
    for one in summary["scores"]:
        shares = "  ".join(f"{_interval(one[name]):>22}" for name in _CURVES)
        mark = " <- given" if one["at"] == summary["given"] else ""
        yield f"{one['at']:>9g}  {shares}  {one['missed']:>9,}  {one['false']:>9,}{mark}"
    kinds = next((one.get("kinds") for one in summary["scores"] if one["at"] == summary["given"]), None)
    if kinds:
        yield ""
        yield f"recall by kind at {summary['given']:g}"
        yield from (f"  {printable(name)}: {_interval(share)}" for name, share in kinds.items())
    chosen = summary["chosen"]
    yield ""
    yield (
        f"At {chosen['at']:g} F1 is best on one half of the groups; on the other half: recall "
        f"{_interval(chosen['recall'])}, precision {_interval(chosen['precision'])}, F1 {_interval(chosen['f1'])}"
    )
    if summary["rows_with_errors"]:
        yield f"rows with unreadable pictures, whose copies are missed: {summary['rows_with_errors']:,}"
    if summary["unknown_ids"]:
        yield f"ids of the truth that are no row's, whose pairs do not count: {summary['unknown_ids']:,}"


def _interval(share: Sequence[float | None]) -> str:
    """``0.981 (0.970-0.990)``"""
    value, low, high = share
    if value is None or low is None or high is None:
        return "-"
    return f"{value:.3f} ({low:.3f}-{high:.3f})"


def evaluation_page(summary: Mapping[str, Any]) -> str:
    """As HTML, with a chart."""
    scores = summary["scores"]
    step = _WIDTH / max(1, len(scores) - 1)
    points = {
        name: [
            (round(number * step, 1), round((1 - one[name][0]) * _HEIGHT, 1))
            for number, one in enumerate(scores)
            if one[name][0] is not None
        ]
        for name in _CURVES
    }
    kinds = next((one.get("kinds") for one in scores if one["at"] == summary["given"]), None)
    return template("evaluation.html").render(
        one=summary, points=points, step=step, width=_WIDTH, height=_HEIGHT, kinds=kinds, interval=_interval
    )
