"""What two runs must have in common for their fingerprints to be comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.hash.encoder import encoder_spec
from imgdedup_spark.hash.prints import key_parts
from imgdedup_spark.hash.vectors import ARRAY
from imgdedup_spark.index.manifest import State
from imgdedup_spark.kernels.encoders.models import identity
from imgdedup_spark.kernels.hashes import HashSpec

#: In the place of a model's name: nobody knows which one made them.
READY_VECTORS = "(ready vectors)"


_SAID = {
    "method": "hashes by {}",
    "model": "--model {}",
    "decode": "--decode {}",
    "verify": "--verify {}",
    "text": "--text-col: {}",
    "text_normalize": "--text-normalize {}",
}


def fingerprint_spec(config: DedupConfig) -> dict[str, Any]:
    """What two runs must have in common for their fingerprints to be comparable."""
    spec: dict[str, Any] = {"text": config.text_col is not None, "text_normalize": sorted(config.text_normalize)}
    if config.is_embedding:
        model = READY_VECTORS if config.embedding_col else identity(encoder_spec(config).model)
        return {**spec, "method": config.method, "model": model}
    if config.hash_col:
        return {**spec, "method": "ready hashes"}
    return {
        **spec,
        "method": _named(config.spec),
        "decode": config.decode,
        "verify": [_named(verify.spec) for verify in config.verifies],
    }


def _named(spec: HashSpec) -> str:
    return f"{spec.method} of {spec.bits} bits" if spec.bits is not None else spec.method


def check_spec(state: State, config: DedupConfig, where: str) -> None:
    """Raises:
    UserError: the index was made with other options, so that its fingerprints cannot be compared with this run's.
    """
    if state.spec is None:
        return
    mine = fingerprint_spec(config)
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


def index_schema(config: DedupConfig) -> StructType:
    """The columns of the index's Parquet files. ``position`` is a row's number within what its run added."""
    hashes = [StructField(name, StringType()) for name in key_parts(config)]
    if config.is_embedding:
        # Arrays, which every reader of Parquet understands.
        hashes = [StructField("embedding", ARRAY)]
    return StructType(
        [
            StructField("id", StringType()),
            *hashes,
            StructField("texthash", StringType()),
            StructField("images", IntegerType()),
            StructField("width", IntegerType()),
            StructField("height", IntegerType()),
            StructField("bytes", LongType()),
            StructField("source", StringType()),
            StructField("run", StringType()),
            StructField("position", LongType()),
        ]
    )
