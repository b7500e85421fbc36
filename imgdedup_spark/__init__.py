"""Image deduplication as an Apache Spark job: ``deduplicate``, ``DedupConfig``, ``ImageHasher``, ``hash_bytes``,
``find_leaks``."""

from __future__ import annotations

from typing import Any

__all__ = [
    "DedupConfig", "DedupResult", "ImageHasher", "UserError", "__version__", "deduplicate", "find_leaks", "hash_bytes"
]  # fmt: skip
__version__ = "0.1.0"
_HOMES = {
    "DedupConfig": "config.dedup",
    "DedupResult": "api",
    "ImageHasher": "transformer",
    "UserError": "errors",
    "deduplicate": "api",
    "find_leaks": "leaks",
    "hash_bytes": "api",
}

# Of a zip file, as --py-files brings it.
if _archive := getattr(__spec__.loader, "archive", None):
    from imgdedup_spark.unpacked import unpacked

    if _folder := unpacked(_archive, __name__):
        __path__.insert(0, _folder)


def __getattr__(name: str) -> Any:
    """Imports on first use: a Spark worker that unpickles a kernel must not pay for the whole package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
