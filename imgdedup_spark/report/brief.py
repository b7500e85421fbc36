"""The counts of a result as a small table of HTML, which costs no Spark job."""

from __future__ import annotations

from html import escape

from imgdedup_spark.keep.found import Found
from imgdedup_spark.write import small


def brief(found: Found) -> str:
    """Rows in, kept and dropped, those with unreadable images, and, if the run was decided in the driver, for what
    reasons rows were dropped."""
    reasons = small.counts(found.at_once, "reason") if found.at_once is not None else {}
    counts = {
        "rows in": found.rows_in,
        "kept": found.kept_count,
        "dropped as duplicates": found.dropped_count,
        **{f"— {reason}": count for reason, count in sorted(reasons.items())},
        "dropped on error": found.dropped_on_error,
        "rows with unreadable images": sum(one.rows_with_errors for one in found.tallies.values()),
    }
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{count:,}</td></tr>" for name, count in counts.items())
    return f"<table>{rows}</table>"
