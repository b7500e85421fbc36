"""The model that the options name."""

from __future__ import annotations

from pathlib import Path

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.kernels.encoders.models import check_model
from imgdedup_spark.kernels.encoders.spec import EncoderSpec


def encoder_spec(config: DedupConfig) -> EncoderSpec:
    """The model that the options name. A local one by its whole path, because workers run in other folders."""
    path = Path(config.model).expanduser()
    model = str(path.resolve()) if path.exists() else config.model
    return EncoderSpec(model, config.batch_size, config.device)


def check_models(config: DedupConfig) -> None:
    """Sees to it that the models of a run can be had, before any work.

    Raises:
        UserError: one line that says how to get it.
    """
    for step in config.steps:
        if step.is_embedding and not step.embedding_col:
            check_model(encoder_spec(step))
