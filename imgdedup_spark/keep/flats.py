"""Flat pictures that show the same get the key of the first of them: from then on they are equal."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.prints import Prints, lane
from imgdedup_spark.index.references import References
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS, earliest_same, sketches
from imgdedup_spark.read.source import ORDER
from imgdedup_spark.spark.local import from_driver, to_driver

log = logging.getLogger("imgdedup")
#: So many different flat pictures are compared by what they show, which takes some half a minute.
MOST = 50_000


def with_stand_ins(rows: pa.Table, known: pa.Table | None, kind: Prints) -> pa.Table:
    """Rows in keep order, with the ``flat`` of what stands for them.

    Args:
        rows: prints.
        known: references, by rank, if there are any: they stand for themselves.
    """
    there = pc.is_valid(rows.column("flat")).to_numpy()
    if not kind.has_flat or not there.any():
        return rows
    parts = [_flats(one, kind) for one in (known, rows) if one is not None]
    before = sum(map(len, parts[:-1]))
    replaced = np.full(len(rows), None, object)
    replaced[there] = _stand_ins(pa.concat_tables(parts), before)[before:]
    return rows.set_column(rows.column_names.index("flat"), "flat", pa.array(replaced, pa.string()))


def keys_of_stand_ins(rows: DataFrame, prints: DataFrame, kind: Prints, references: References | None) -> DataFrame:
    """The same of a frame: rows with the ``key`` of what stands for them.

    Args:
        rows: ``order``, ``key``, ``images`` (``prints.lane``) and ``rank``.
        prints: ``order`` and ``flat``.
    """
    if not kind.has_flat:
        return rows
    own = rows.where("images < 0").select(ORDER, "key", "rank").join(prints.select(ORDER, "flat"), ORDER)
    frames = [own]
    if references is not None:
        frame = references.frame.where(kind.has_key() & (lane() < 0))
        frames.insert(0, frame.select(kind.key().alias("key"), "rank", "flat"))
    tables = [_first_of_keys(one) for one in frames]
    if sum(map(len, tables)) > MOST:
        log.warning(
            "more than %s different pictures are flat: only those of equal pixels or one color match", f"{MOST:,}"
        )
        return rows
    keys, size = [key for table in tables for key in table.column("key").to_pylist()], DIGEST_DIGITS // 2
    contexts = pa.array([key[size:] for key in keys], pa.binary())
    flats = pa.table({"flat": pa.concat_tables(tables).column("flat"), "context": contexts})
    stands = _stand_ins(flats, sum(map(len, tables[:-1])))
    named = {key: bytes.fromhex(stand) + key[size:] for key, stand in zip(keys, stands, strict=True)}
    others = {key: stand for key, stand in named.items() if key != stand}
    if not others:
        return rows
    stand = from_driver(rows.sparkSession, pa.table({"key": list(others), "stand": list(others.values())}))
    joined = rows.join(F.broadcast(stand), "key", "left")
    return joined.withColumn("key", F.coalesce("stand", "key")).select(*rows.columns)


def _first_of_keys(flats: DataFrame) -> pa.Table:
    """``key`` and ``flat`` of the first row of each key, by rank; more than are compared, if there are more."""
    first = flats.groupBy("key").agg(F.min("rank").alias("rank"), F.min_by("flat", "rank").alias("flat"))
    return to_driver(first.limit(MOST + 1)).sort_by("rank").select(["key", "flat"])


def _flats(rows: pa.Table, kind: Prints) -> pa.Table:
    """``flat``, and the ``context`` that must be equal, of the rows that are flat."""
    rows = rows.filter(pc.is_valid(rows.column("flat")))
    texts = pc.fill_null(rows.column("texthash"), "") if kind.config.text_col else pa.nulls(len(rows), pa.string())
    return pa.table({"flat": rows.column("flat"), "context": pc.fill_null(texts, "").cast(pa.binary())})


def _stand_ins(flats: pa.Table, known: int) -> np.ndarray:
    """(n,) the digest of the first flat picture of the same context that shows the same and stands for itself.

    Args:
        flats: ``flat`` and ``context``, in keep order.
        known: how many at the start stand for themselves.
    """
    digests = pc.utf8_slice_codeunits(flats.column("flat"), 0, DIGEST_DIGITS)
    contexts = flats.column("context").combine_chunks().dictionary_encode().indices
    keys = pc.binary_join_element_wise(digests, contexts.cast(pa.string()), " ").combine_chunks().dictionary_encode()
    codes, first = np.unique(keys.indices.to_numpy(), return_index=True)
    named = digests.to_numpy()
    if len(first) > MOST:
        return named
    context, stands = contexts.to_numpy()[first], np.arange(len(codes))
    texts = flats.column("flat").take(pa.array(first)).to_pylist()
    order = np.argsort(context, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(context[order])) + 1):
        some, sketched = sketches([texts[place] for place in group])
        places = group[some]
        stands[places] = places[earliest_same(sketched, int((first[places] < known).sum()))]
    return named[first[stands]][keys.indices.to_numpy()]
