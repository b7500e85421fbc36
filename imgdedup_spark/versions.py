"""The version of this package, and those of everything that can change a hash, a plan or an embedding."""

from __future__ import annotations

import importlib.metadata
import platform

from imgdedup_spark import __version__


def versions(*, models: bool = False) -> dict[str, str]:
    """Of everything that can change a hash or a plan, or an embedding.

    Args:
        models: also of what runs a model.
    """
    found = {"imgdedup_spark": __version__, "python": platform.python_version()}
    packages = ("pyspark", "Pillow", "imagehash", "pdqhash", "numpy", "pyarrow", "numba")
    for package in (*packages, *(("torch", "transformers", "onnxruntime") if models else ())):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # On some platforms PySpark is part of the runtime and no installed package; models are extras.
            continue
    return found
