"""Presets: combinations of options that were meant for each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imgdedup_spark.config.options import flag

#: Two hashes with independent mistakes, wide thresholds on both: either alone would match pictures by chance, both
#: together do not.
PRESETS: dict[str, dict[str, Any]] = {
    "strict": {"method": "double_gradient", "hash_size": 8, "threshold": 16, "verify": ("phash:16:80",)},
    "balanced": {
        "method": "double_gradient",
        "hash_size": 8,
        "threshold": 24,
        "verify": ("phash:16:90",),
        "views": ("trimmed",),
    },
    "thorough": {
        "method": "double_gradient",
        "hash_size": 8,
        "threshold": 20,
        "verify": ("phash:16:80",),
        "views": ("trimmed", "center", "turned"),
    },
    "descriptor": {"method": "sscd"},
}
# Method → what it has in the place of the options' defaults. At 0.5 nearly all edits are found, and few more pictures
# of other photographs match than at 0.65 (docs/embeddings.md).
_OF_METHODS: dict[str, dict[str, Any]] = {"sscd": {"similarity": 0.5, "model": "sscd"}}
# What finds nearly as much once what is in common with a background set is taken off.
_NORMALISED = 0.35


def with_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, and of the preset and the method that they name what they do not say themselves."""
    options = {**PRESETS.get(given.get("preset") or "", {}), **given}
    return {**of_method(options), **options}


def of_method(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the method of these options has in the place of defaults."""
    own = dict(_OF_METHODS.get(options.get("method") or "", {}))
    if options.get("embedding_col"):
        own.pop("model", None)
    if own and options.get("background_set"):
        own["similarity"] = _NORMALISED
    return own


def spelled_out(name: str, options: Any) -> str:
    """A preset's options as flags, with the values that they have in a run.

    Args:
        options: has them as attributes.
    """
    words = []
    for option in [*PRESETS[name], *of_method(vars(options))]:
        value = getattr(options, option)
        if value or not isinstance(value, tuple):
            values = value if isinstance(value, tuple) else (value,)
            words.append(" ".join([flag(option), *map(str, values)]))
    return ", ".join(words)
