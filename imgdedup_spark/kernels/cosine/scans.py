"""Compiled scans of tiles of products."""

from __future__ import annotations

import numpy as np

from imgdedup_spark.kernels.cosine.rows import Bool, Float32, Float64, Int64, compiled, least_cosine


@compiled
def scan_matches(
    bounds: Float32,  # (rows, columns): upper bounds of the cosines of a tile
    bound: float,
    threshold: float,
    images: int,
    first: int,  # the tile's first row in the base
    base_vectors: Float32,
    base_block: Int64,
    base_is_reference: Bool,
    base_rank: Int64,
    columns: Int64,  # (columns,): the tile's columns in the queries
    query_vectors: Float32,
    query_block: Int64,
    query_rank: Int64,
    query_cursor: Int64,
    found_base: Int64,  # (queries, cap): rows of the base
    found_similarity: Float64,  # (queries, cap)
    found: Int64,  # (queries,): how many of them
    done: Bool,  # (queries,): nothing more to find
) -> None:
    cap = found_base.shape[1]
    limit = np.float32(bound)
    for r in range(bounds.shape[0]):
        row = bounds[r]
        # Almost no row of a tile has a candidate: counting them first is one pass of vector instructions.
        candidates = 0
        for c in range(len(row)):
            candidates += row[c] >= limit
        if candidates == 0:
            continue
        b = first + r
        for c in range(len(row)):
            if row[c] < limit:
                continue
            q = columns[c]
            if done[q] or base_block[b] != query_block[q]:
                continue
            if not base_is_reference[b] and not (query_cursor[q] < base_rank[b] < query_rank[q]):
                continue
            similarity = least_cosine(base_vectors[b], query_vectors[q], images)
            if similarity < threshold:
                continue
            found_base[q, found[q]] = b
            found_similarity[q, found[q]] = similarity
            found[q] += 1
            # A reference is always kept, so that a query close to one needs no further neighbour.
            done[q] = found[q] == cap or base_is_reference[b]


@compiled
def scan_highest(
    cosines: Float32,  # (rows, columns)
    one_block: bool,
    first: int,
    base_block: Int64,
    itself: Int64,  # (rows,): the column that is the same item, or -1
    start: int,  # the tile's first column in the queries
    query_block: Int64,
    base_highest: Float32,
    query_highest: Float32,
) -> None:
    for r in range(cosines.shape[0]):
        b = first + r
        row = cosines[r]
        if itself[r] >= 0:
            row[itself[r]] = np.float32(-2.0)
        if not one_block:
            for c in range(len(row)):
                if base_block[b] != query_block[start + c]:
                    row[c] = np.float32(-2.0)
        highest = base_highest[b]
        for c in range(len(row)):
            highest = max(highest, row[c])
            query_highest[start + c] = max(query_highest[start + c], row[c])
        base_highest[b] = highest


def least_products(a: Float32, b: Float32, images: int, out: Float32) -> None:
    """(len(a), len(b)): for each pair of rows the least cosine of their images at the same place."""
    dims = a.shape[1] // images
    for i in range(images):
        part = slice(i * dims, (i + 1) * dims)
        product = a[:, part] @ b[:, part].T
        np.minimum(out, product, out=out) if i else np.copyto(out, product)
    out *= images
