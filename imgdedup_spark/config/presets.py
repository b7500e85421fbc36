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
}
#: Named by the contract and not there yet → what they need.
MISSING = {
    "descriptor": "it compares copy descriptors (SSCD), which this version does not make; `thorough` is the widest",
}


def with_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, and of their preset, if they name one, what they do not say themselves."""
    return {**PRESETS.get(given.get("preset") or "", {}), **given}


def spelled_out(name: str, options: Any) -> str:
    """A preset's options as flags, with the values that they have in a run.

    Args:
        options: has them as attributes.
    """
    words = []
    for option in PRESETS[name]:
        value = getattr(options, option)
        if value or not isinstance(value, tuple):
            values = value if isinstance(value, tuple) else (value,)
            words.append(" ".join([flag(option), *map(str, values)]))
    return ", ".join(words)
