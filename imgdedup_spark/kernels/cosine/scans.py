"""Compiled scans of tiles of products."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imgdedup_spark.kernels.cosine.rows import Bool, Float32, Float64, Int64, Rows, compiled, least_cosine


class Tile(NamedTuple):
    """Products of some rows of the base with some queries.

    Attributes:
        products: (rows, columns) float32, the cosines or upper bounds of them.
        first: the number in the base of the tile's first row.
        columns: (columns,) int64, the numbers of the tile's columns in the queries.
        bounds: (columns,) float32, the least product of a candidate in each.
    """

    products: Float32
    first: int
    columns: Int64
    bounds: Float32


class Limits(NamedTuple):
    """What makes a pair a match.

    Attributes:
        similarity: the least cosine (see ``least_cosine``).
        spare: so many references may turn out not to count.
    """

    similarity: float
    spare: int


class Found(NamedTuple):
    """The neighbours of each query so far.

    Attributes:
        base: (queries, cap) int64, numbers of rows of the base.
        similarity: (queries, cap) float64.
        number: (queries,) int64, how many of them.
        done: (queries,) bool, nothing more to find.
    """

    base: Int64
    similarity: Float64
    number: Int64
    done: Bool


class Highest(NamedTuple):
    """The highest cosine so far of each row with any other one, float32; -2 for those compared with nothing."""

    base: Float32
    queries: Float32


@compiled
def scan_matches(tile: Tile, base: Rows, queries: Rows, limits: Limits, found: Found) -> None:
    # Arrays are taken out of tuples once, and no views are made of them: both count references.
    products, columns, bounds = tile.products, tile.columns, tile.bounds
    base_vectors, base_block, base_is_reference, base_rank, _, _ = base
    query_vectors, query_block, _, query_rank, query_cursor, query_background = queries
    found_base, found_similarity, number, done = found
    cap = found_base.shape[1]
    for r in range(products.shape[0]):
        # Almost no row of a tile has a candidate: counting them first is one pass of vector instructions.
        candidates = 0
        for c in range(products.shape[1]):
            candidates += products[r, c] >= bounds[c]
        if candidates == 0:
            continue
        b = tile.first + r
        for c in range(products.shape[1]):
            if products[r, c] < bounds[c]:
                continue
            q = columns[c]
            if done[q] or base_block[b] != query_block[q]:
                continue
            if not base_is_reference[b] and not (query_cursor[q] < base_rank[b] < query_rank[q]):
                continue
            similarity = least_cosine(base_vectors[b], query_vectors[q], query_background[q])
            if similarity < limits.similarity:
                continue
            found_base[q, number[q]] = b
            found_similarity[q, number[q]] = similarity
            number[q] += 1
            # A reference is always kept, so that a query close to one that counts needs no further neighbour.
            done[q] = number[q] == cap or (base_is_reference[b] and number[q] > limits.spare)


@compiled
def scan_highest(tile: Tile, base_block: Int64, query_block: Int64, itself: Int64, highest: Highest) -> None:
    """Spoils the tile. ``itself``: (rows,) int64 the column that is the same item, or -1; columns are neighbours."""
    products, first, start = tile.products, tile.first, tile.columns[0]
    base_highest, query_highest = highest
    # Blocks ascend: with the first and the last column's equal, all are.
    one_block = query_block[start] == query_block[start + products.shape[1] - 1]
    for r in range(products.shape[0]):
        b = first + r
        if itself[r] >= 0:
            products[r, itself[r]] = np.float32(-2.0)
        if not one_block or base_block[b] != query_block[start]:
            for c in range(products.shape[1]):
                if base_block[b] != query_block[start + c]:
                    products[r, c] = np.float32(-2.0)
        most = base_highest[b]
        for c in range(products.shape[1]):
            most = max(most, products[r, c])
            query_highest[start + c] = max(query_highest[start + c], products[r, c])
        base_highest[b] = most


def least_products(a: Float32, b: Float32, images: int, out: Float32) -> None:
    """(len(a), len(b)): for each pair of rows the least cosine of their images at the same place."""
    dims = a.shape[1] // images
    for i in range(images):
        part = slice(i * dims, (i + 1) * dims)
        product = a[:, part] @ b[:, part].T
        np.minimum(out, product, out=out) if i else np.copyto(out, product)
    out *= images
