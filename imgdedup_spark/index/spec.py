"""What two runs must have in common for their fingerprints to be comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.index.manifest import State

_SAID = {
    "method": "hashes by {}",
    "model": "--model {}",
    "pictures": "rule {} of what a picture is",
    "background": "--background {}",
    "frames": "--frames {}",
    "decode": "--decode {}",
    "verify": "--verify {}",
    "views": "views: {}",
    "text": "--text-col: {}",
    "text_normalize": "--text-normalize {}",
}


def fingerprint_spec(kind: Prints) -> dict[str, Any]:
    """What two runs must have in common for their prints to be comparable."""
    text = {"text": kind.config.text_col is not None, "text_normalize": sorted(kind.config.text_normalize)}
    return {**text, **kind.index_spec()}


def check_spec(state: State, kind: Prints, where: str) -> None:
    """Raises:
    UserError: the index was made with other options, so that its fingerprints cannot be compared with this run's.
    """
    if state.spec is None:
        return
    mine = fingerprint_spec(kind)
    for name, said in _SAID.items():
        theirs, ours = _shown(state.spec.get(name)), _shown(mine.get(name))
        if theirs != ours:
            raise UserError(
                f"{where}: it was made with {said.format(theirs)}, and this run has {said.format(ours)}; "
                "give it the same options, or another folder"
            )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "given" if value else "not given"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(value) or "none"
    return "none" if value is None else str(value)


def index_schema(kind: Prints) -> StructType:
    """The columns of the index's Parquet files. ``position`` is a row's number within what its run added."""
    return StructType(
        [
            StructField("id", StringType()),
            *kind.index_fields(),
            StructField("texthash", StringType()),
            StructField("images", IntegerType()),
            StructField("flat", StringType()),
            StructField("width", IntegerType()),
            StructField("height", IntegerType()),
            StructField("bytes", LongType()),
            StructField("source", StringType()),
            StructField("run", StringType()),
            StructField("position", LongType()),
        ]
    )
