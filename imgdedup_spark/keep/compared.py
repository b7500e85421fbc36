"""What rows are compared by, and the search among those with as many images, of tables that one process holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.hash.vectors import Vectors
from imgdedup_spark.kernels.arrow import floats
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.kernels.hamming.pack import codes_of, texts_of
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS
from imgdedup_spark.kernels.hashes.view_codes import taken_apart

if TYPE_CHECKING:
    from imgdedup_spark.match.packed import Packed

Ints = npt.NDArray[np.int64]


def keys_of(rows: pa.Table, kind: Prints) -> pa.Array:
    """What of a row must be equal: flat pictures' own hash, or the hashes and those of its views, or the embeddings;
    and the text."""
    if not isinstance(kind, Hashes):
        images = lanes_of(rows).astype("S")
        key = pc.binary_join_element_wise(pa.array(images, pa.binary()), rows.column("vector"), _texts(rows), b" ")
    else:
        key = whole_keys(rows, kind)
        if kind.config.view_names:
            key = pc.binary_join_element_wise(key.cast(pa.binary()), pc.binary_join(rows.column("views"), b""), b" ")
    return key.combine_chunks() if isinstance(key, pa.ChunkedArray) else key


def whole_keys(rows: pa.Table, kind: Hashes) -> pa.Array | pa.ChunkedArray:
    """The same of the whole pictures alone."""
    hashes = pc.binary_join_element_wise(*[pc.fill_null(rows.column(name), "") for name in kind.columns], "/")
    digests = pc.utf8_slice_codeunits(rows.column("flat"), 0, DIGEST_DIGITS)
    flat = pc.binary_join_element_wise("flat", digests, " ")
    key = pc.if_else(pc.is_valid(flat), flat, hashes)
    if kind.config.text_col:
        text = pc.fill_null(rows.column("texthash"), "-")
        key = pc.binary_join_element_wise(key, text, " ")
    return key


def _texts(rows: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(rows.column("texthash"), "-").cast(pa.binary())


def lanes_of(rows: pa.Table) -> Ints:
    """How many images, negative where flat ones are among them (``prints.lane``)."""
    images = rows.column("images").to_numpy().astype(np.int64)
    return np.where(pc.is_valid(rows.column("flat")).to_numpy(), -images, images)


def search_lane(
    rows: pa.Table,
    numbers: Ints,
    known: pa.Table | None,
    there: Ints,
    kind: Prints,
    images: int,
    excluded: Exclusions,
    among: bool,
) -> Packed | None:
    """First come among distinct keys with so many images each, after references.

    Args:
        there: which of ``known`` have as many.
    """
    columns = [*kind.columns, *kind.beside, "texthash"]
    rows = rows.select(columns)
    if known is not None:
        earlier = known.take(pa.array(there))
        numbers = np.concatenate([excluded.references.of(earlier.column("rank").to_numpy()), numbers])
        rows = pa.concat_tables([earlier.select(columns), rows], promote_options="permissive").combine_chunks()
    if isinstance(kind, Hashes):
        return _by_hash(rows, numbers, len(there), kind, images, excluded, among)
    assert isinstance(kind, Vectors)
    # Only here, as below: the compiler takes a second to load, and most runs need none.
    from imgdedup_spark.match.packed_vectors import first_come_by_cosine

    dims = kind.key_bytes(images) // 4
    texts = _texts(rows).combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return first_come_by_cosine(
        floats(rows.column("vector").combine_chunks(), dims).reshape(len(rows), images, dims // images),
        texts if kind.config.text_col else np.zeros(len(rows), np.int64),
        kind.config.similarity,
        len(there),
        among=among,
        want_max=kind.config.emit_hashes,
        background=kind.background,
        numbers=numbers,
        barred=excluded.barred,
    )


def outcome_of(kind: Prints, same: np.ndarray, distance: np.ndarray) -> dict[str, pa.Array]:
    """As ``Prints.outcome``.

    Args:
        same: (n,) whether the keys are equal.
        distance: (n,), NaN where no picture was compared.
    """
    compared = ~np.isnan(distance)
    if isinstance(kind, Hashes):
        similarity, reason = pa.nulls(len(same), pa.float64()), pc.if_else(pa.array(same), "same_hash", "near_hash")
        distance = np.where(same, 0.0, distance)
    else:
        similarity = pa.array(1 - distance, mask=~compared)
        reason = pc.if_else(pa.array(compared), "near_embedding", "same_hash")
    return {"distance": pa.array(np.where(compared, distance, 0.0)), "similarity": similarity, "reason": reason}


def _by_hash(
    rows: pa.Table, numbers: Ints, references: int, kind: Hashes, images: int, excluded: Exclusions, among: bool
) -> Packed | None:
    hashes = [rows.column(name).combine_chunks() for name in kind.columns]
    codes = codes_of(hashes, [digits for digits in kind.digits() if digits is not None], images)
    contexts = texts_of(rows.column("texthash").combine_chunks()) if kind.config.text_col else None
    if kind.config.view_names:
        from imgdedup_spark.match.by_views import Views, first_come_by_views

        views = Views(*taken_apart(rows.column("views").combine_chunks(), codes.shape[1]))
        return first_come_by_views(
            codes, views, contexts, kind.parts(images),
            references=references, among=among, numbers=numbers, barred=excluded.barred,
        )  # fmt: skip
    from imgdedup_spark.match.packed import first_come

    return first_come(
        codes, contexts, kind.parts(images), references, among=among, numbers=numbers, barred=excluded.barred
    )
