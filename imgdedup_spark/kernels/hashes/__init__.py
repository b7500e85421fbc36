"""Pictures → hashes. What methods there are is here; ``hasher`` computes the hashes, and loads what that takes."""

from imgdedup_spark.kernels.hashes.methods import METHODS, HashSpec, validate

__all__ = ["METHODS", "HashSpec", "validate"]
