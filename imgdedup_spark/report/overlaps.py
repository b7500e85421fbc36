"""Splits and what they have in common, as text and for summary.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.report.explain import printable
from imgdedup_spark.splits import Overlaps
from imgdedup_spark.versions import versions


def summarize_overlaps(found: Overlaps, config: DedupConfig, stages: Mapping[str, Any]) -> dict[str, Any]:
    """What summary.json holds: ``rows_in``, ``leaked``, ``matrix`` (split → other → rows by reason), ``splits``."""
    names = [one.name for one in found.splits]
    return {
        "rows_in": sum(one.tally.rows for one in found.splits),
        "leaked": found.leaked,
        "matrix": {
            name: {
                other: {"rows": found.rows(name, other), **found.counts[name, other]}
                for other in names
                if (name, other) in found.counts
            }
            for name in names
        },
        "splits": [
            {
                "split": one.name,
                "input": list(one.placed.source.inputs),
                "rows": one.tally.rows,
                "images": one.tally.images,
                "rows_with_errors": one.tally.rows_with_errors,
                "passed_over": one.placed.source.passed.reasons,
            }
            for one in found.splits
        ],
        "same_files": found.same_files,
        "stages": dict(stages),
        "config": dataclasses.asdict(config),
        "versions": versions(models=found.splits[0].kind.uses_models),
    }


def matrix_text(summary: Mapping[str, Any]) -> str:
    """The matrix as lines of text, and what to know of it.

    Args:
        summary: as ``summarize_overlaps`` makes it.
    """
    return "\n".join((*_table(summary), "", *_sentences(summary)))


def _table(summary: Mapping[str, Any]) -> Iterator[str]:
    names = [one["split"] for one in summary["splits"]]
    lines = [["rows of", "rows", *(f"in {printable(name)}" for name in names)]]
    for split in summary["splits"]:
        here = summary["matrix"][split["split"]]
        cells = [f"{here[other]['rows']:,}" if other in here else "-" for other in names]
        lines.append([printable(split["split"]), f"{split['rows']:,}", *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [one.rjust(width) for one, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])


def _sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    train, *tests = summary["splits"]
    for split in tests:
        cell, rows = summary["matrix"][split["split"]][train["split"]], split["rows"]
        share = f" ({cell['rows'] / rows:.2%})" if rows else ""
        equal = f", {cell['same_hash']:,} of them with equal hashes" if cell.get("same_hash") else ""
        name, other = printable(split["split"]), printable(train["split"])
        yield f"{name}: {cell['rows']:,} of {rows:,} rows{share} are in {other}{equal}"
    if any(split["split"] in summary["matrix"][split["split"]] for split in summary["splits"]):
        yield "A split in itself: the rows that a deduplication of it alone would drop."
    for both in summary["same_files"]:
        one, other = map(printable, both["splits"])
        files = "file" if both["count"] == 1 else "files"
        yield f"{one} and {other} both read {both['count']:,} {files}, such as {printable(both['examples'][0])}"
    for split in summary["splits"]:
        if failed := split["rows_with_errors"]:
            rows = "row has an unreadable picture and was" if failed == 1 else "rows have unreadable pictures and were"
            yield f"{printable(split['split'])}: {failed:,} {rows} compared with nothing"
