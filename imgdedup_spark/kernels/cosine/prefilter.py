"""A product of fewer dimensions that rules most pairs out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imgdedup_spark.kernels.cosine.rows import Float32

# Costs on one AVX-512 core, in nanoseconds, that choose the number of leading components: per pair and dimension of a
# product (125 GFLOP/s), and per candidate that is computed in full. Only their ratio matters, and only to speed.
PRODUCT_NS = 0.016
CANDIDATE_NS = 120.0
#: Below this many pairs a product of all dimensions takes less time than a look at a sample.
PREFILTER_FROM = 50_000_000
#: Rows that tell how few dimensions rule most pairs out.
SAMPLE = 8192


@dataclass(frozen=True)
class Prefilter:
    """The leading directions of the data, which bound a cosine from above. Changes the speed, never a result.

    Attributes:
        basis: (d, dims) float32 with orthonormal columns, or None for products of all d dimensions.
    """

    basis: Float32 | None = None

    def project(self, vectors: Float32) -> Float32:
        """(n, dims + 1) float32: the leading coordinates and the length of what they leave out."""
        if self.basis is None:
            return vectors
        leading = vectors @ self.basis
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        squares -= np.einsum("ij,ij->i", leading, leading, dtype=np.float64)
        # A square is wrong by some 1e-7 after single precision; 1e-6 more keeps the length an upper bound.
        rest = np.sqrt(np.maximum(squares, 0.0) + 1e-6)
        return np.concatenate([leading, rest[:, None].astype(np.float32)], axis=1)


def fit_prefilter(sample: Float32, similarity: float) -> Prefilter:
    """Chooses how many leading components to multiply, by what they cost and the candidates they leave.

    One half of the sample gives the directions, the other half the candidates, so that the choice is not flattered.

    Args:
        sample: (n, d) float32 vectors of length 1, in random order.
        similarity: the threshold that the bound is compared with.
    """
    d = sample.shape[1] if sample.ndim == 2 else 0
    half = len(sample) // 2
    if half < 64 or d < 32:
        return Prefilter()
    basis = leading_directions(sample[:half], min(256, d // 2))
    test = sample[half:][:1024]
    cosines = test @ test.T
    not_pairs = cosines < similarity - 1e-5
    not_pairs &= ~np.eye(len(test), dtype=bool)
    best, best_cost = Prefilter(), PRODUCT_NS * d
    dims = 16
    while dims <= basis.shape[1]:
        prefilter = Prefilter(np.ascontiguousarray(basis[:, :dims]))
        projected = prefilter.project(test)
        candidates = (projected @ projected.T >= similarity - 1e-5) & not_pairs
        cost = PRODUCT_NS * (dims + 1) + CANDIDATE_NS * float(candidates.mean())
        if cost < best_cost:
            best, best_cost = prefilter, cost
        dims += 16
    return best


def leading_directions(sample: Float32, dims: int) -> Float32:
    """(d, dims) float32 orthonormal columns: the directions of most energy, in falling order.

    Subspace iteration, four rounds from a fixed start: near enough for a bound, and it needs no d x d decomposition.
    Not centred, since inner products are about the origin.
    """
    data = sample.astype(np.float64)
    basis = np.random.default_rng(0).standard_normal((data.shape[1], dims))
    for _ in range(4):
        basis, _ = np.linalg.qr(data.T @ (data @ basis))
    leading = data @ basis
    _, turn = np.linalg.eigh(leading.T @ leading)
    return np.ascontiguousarray(basis @ turn[:, ::-1], dtype=np.float32)
