"""What a DataFrame of the caller's was read from."""

from __future__ import annotations

from pyspark.sql import DataFrame


def read_roots(frame: DataFrame) -> list[str]:
    """The files and folders that it was told to read, as plain URIs; none on Spark Connect, which does not say."""
    try:
        leaves = frame._jdf.queryExecution().analyzed().collectLeaves()
    except Exception:  # each version of Connect's refuses in its own way
        return []
    return [uri for number in range(leaves.size()) for uri in _roots_of(leaves.apply(number))]


def _roots_of(leaf: object) -> list[str]:
    try:
        paths = leaf.relation().location().rootPaths()  # type: ignore[attr-defined]
        return [paths.apply(number).toString() for number in range(paths.size())]
    except Exception:  # no files: rows of the driver's, a table of another kind
        return []
