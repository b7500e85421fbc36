"""The report: an outcome as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from imgdedup_spark.config.declared import OPTIONS
from imgdedup_spark.kernels.pictures.thumbnail import Thumbnail
from imgdedup_spark.report.advice import Advice
from imgdedup_spark.report.choose import Chosen, Group, Row, choose
from imgdedup_spark.report.explain import Explanation, distance_text, printable
from imgdedup_spark.report.outcome import Outcome

#: Unreadable pictures that are named.
_ERRORS = 50
#: Of all thumbnails, some rows being shown twice; the page stays below 15 MB.
_MOST_BYTES = 6 << 20
# An enlarged or recompressed copy is below it; noise of the measure is within it.
_SHARPER = 1.25


def report_page(
    outcome: Outcome, thumbnails: Mapping[str, Thumbnail] | None = None, chosen: Chosen | None = None
) -> str:
    """The report as HTML.

    Args:
        thumbnails: of rows, by id; rows without one show their id alone.
        chosen: what to show, if that is known; else it is chosen.
    """
    chosen = chosen or choose(outcome)
    few = _within(thumbnails or {}, chosen.ids)
    return template("report.html").render(
        summary=outcome.summary,
        funnel=funnel(outcome),
        reasons=Counter(outcome.duplicates["reason"].to_pylist()).most_common(),
        distances=_distances(outcome),
        sizes=_sizes(outcome),
        chosen=chosen,
        thumbs=few,
        better=lambda group, row: better(group, row, few),
        errors=outcome.errors.slice(0, _ERRORS).to_pylist(),
        error_counts=_error_counts(outcome),
        options=options_text(outcome),
    )


def explanation_page(explained: Explanation, thumbnails: Mapping[str, Thumbnail] | None = None) -> str:
    """Why a row went or stayed, as HTML with the pictures side by side."""
    return template("explain.html").render(one=explained, thumbs=thumbnails or {})


def advice_page(advice: Advice, thumbnails: Mapping[str, Thumbnail]) -> str:
    """What each threshold would drop, as HTML with pairs at each."""
    return template("advice.html").render(one=advice, thumbs=_within(thumbnails, advice.ids))


def funnel(outcome: Outcome) -> list[dict[str, Any]]:
    """A line for each input, and for all if there are several: ``input``, ``rows_in`` and, adding up to it, ``kept``,
    ``dropped`` and ``on_error``."""
    summary = outcome.summary
    lines = [{"input": "all", **summary}] + (summary.get("inputs") or [])
    if len(lines) == 2:
        lines = lines[1:]
    return [
        {
            "input": line["input"],
            "rows_in": line["rows_in"],
            "kept": line["rows_kept"],
            "dropped": line["rows_dropped"],
            "on_error": line.get("rows_dropped_on_error", 0),
        }
        for line in lines
    ]


def better(group: Group, row: Row, thumbnails: Mapping[str, Thumbnail]) -> str:
    """``larger`` or ``sharper`` if a dropped row's picture is that in comparison with the one kept, else nothing."""
    mine, kept = (one.facts.get("width") or 0 for one in (row, group.kept))
    if kept and mine * (row.facts.get("height") or 0) > kept * (group.kept.facts.get("height") or 0):
        return "larger"
    mine_seen, kept_seen = (thumbnails.get(one.id) if one.number >= 0 else None for one in (row, group.kept))
    return "sharper" if mine_seen and kept_seen and mine_seen.sharpness > _SHARPER * kept_seen.sharpness else ""


def options_text(outcome: Outcome) -> str:
    """The options that are not the defaults, as a YAML file for ``--config``."""
    config = outcome.config
    changed: dict[str, Any] = {
        name: config[name] for name, one in OPTIONS.items() if config.get(name) not in (None, one.default, [])
        and not (name == "on_error" and config[name] == "keep")
    }  # fmt: skip
    if config.get("stages"):
        changed["stages"] = [dict(one) for one in config["stages"]]
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
    return yaml.safe_dump(plain, sort_keys=False)


def _distances(outcome: Outcome) -> list[tuple[str, int]]:
    """Distance → rows dropped at it, nearest first."""
    table = outcome.duplicates
    cosine = pc.is_valid(table["similarity"])
    counts = Counter(zip(cosine.to_pylist(), pc.round(table["distance"], 2).to_pylist(), strict=True))
    both = len({is_cosine for is_cosine, _ in counts}) > 1  # of a run in stages
    return [
        (f"{distance:g}" + both * (", 1 − cosine" if is_cosine else " bits"), counts[is_cosine, distance])
        for is_cosine, distance in sorted(counts)
    ]


def _error_counts(outcome: Outcome) -> list[tuple[str, int]]:
    """Errors, and warnings as such, the most frequent first."""
    table = outcome.errors
    counts = Counter(zip(table["error"].to_pylist(), table["level"].to_pylist(), strict=True)).most_common()
    return [(code + " (warning)" * (level == "warning"), count) for (code, level), count in counts]


def _sizes(outcome: Outcome) -> list[tuple[str, int]]:
    """Size of a group → how many of the run's groups have it; from 8 on in powers of two."""
    kept = outcome.duplicates.filter(pa.array(~outcome.outside))["kept_id"]
    dropped = pc.value_counts(kept.combine_chunks().drop_null()).field("counts")
    found: Counter[int] = Counter()
    for size, times in Counter(pc.add(dropped, 1).to_pylist()).items():
        found[size if size < 8 else 1 << (size.bit_length() - 1)] += times
    return [(str(low) if low < 8 else f"{low:,} to {2 * low - 1:,}", found[low]) for low in sorted(found)]


def _within(thumbnails: Mapping[str, Thumbnail], ids: list[str]) -> dict[str, Thumbnail]:
    """As many of the thumbnails as a page has room for."""
    found, total = {}, 0
    for one in ids:
        if one in thumbnails and total + len(thumbnails[one].uri) <= _MOST_BYTES:
            found[one] = thumbnails[one]
            total += len(thumbnails[one].uri)
    return found


@cache
def template(name: str) -> jinja2.Template:
    """One of ``pages``."""
    # Everything is escaped; `shown` is for what people read, and data- attributes hold ids as they are.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("imgdedup_spark.report", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "shown": lambda value: printable(str(value)),
        "number": lambda value: f"{value:,}",
        "distance": distance_text,
    }
    return environment.get_template(name)
