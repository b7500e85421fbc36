"""Flat pictures that show the same get the key of the first of them: from then on they are equal.

Only those that have a sketch are looked at, and none that ``--never`` names: those keep their own.
"""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imgdedup_spark.hash.apart import NUMBER
from imgdedup_spark.hash.prints import Prints
from imgdedup_spark.index.references import References
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS, earliest_same, sketches
from imgdedup_spark.read.source import ORDER
from imgdedup_spark.spark.local import from_driver, to_driver

log = logging.getLogger("imgdedup")
#: So many different flat pictures are compared by what they show, which takes up to a minute or so.
MOST = 20_000
_DIGEST_BYTES = DIGEST_DIGITS // 2


def with_stand_ins(rows: pa.Table, named: np.ndarray, known: pa.Table | None, kind: Prints) -> pa.Table:
    """Rows in keep order, with the ``flat`` of what stands for them.

    Args:
        rows: prints.
        named: (n,) whether ``--never`` names them.
        known: references, by rank, if there are any: they stand for themselves.
    """
    if not kind.has_flat:
        return rows
    there = _have_sketches(rows) & ~named
    if not there.any():
        return rows
    parts = [_keys(rows.filter(pa.array(there)), kind)]
    if known is not None:
        parts.insert(0, _keys(known.filter(pa.array(_have_sketches(known))), kind))
    stands = _stand_ins(pa.concat_tables(parts), sum(map(len, parts[:-1])))
    if stands is None:
        return rows
    replaced = rows.column("flat").to_numpy().copy()
    replaced[there] = [key[:_DIGEST_BYTES].hex() for key in stands[-int(there.sum()) :]]
    return rows.set_column(rows.column_names.index("flat"), "flat", pa.array(replaced, pa.string()))


def keys_of_stand_ins(rows: DataFrame, prints: DataFrame, kind: Prints, references: References | None) -> DataFrame:
    """The same of a frame: rows with the ``key`` of what stands for them.

    Args:
        rows: ``order``, ``key`` and ``rank``, and ``number`` if ``--never`` names some (0 of all others).
        prints: ``order`` and ``flat``.
    """
    if not kind.has_flat:
        return rows
    has_sketch = F.length("flat") > DIGEST_DIGITS
    own = rows.where(F.col(NUMBER) == 0) if NUMBER in rows.columns else rows
    own = own.select(ORDER, "key", "rank").join(prints.where(has_sketch).select(ORDER, "flat"), ORDER)
    parts = [_first_of_keys(own)]
    if not len(parts[0]):
        return rows
    if references is not None:
        there = references.frame.where(kind.has_key() & has_sketch)
        parts.insert(0, _first_of_keys(there.select(kind.key().alias("key"), "rank", "flat")))
    keys = pa.concat_tables(parts)
    stands = _stand_ins(keys, sum(map(len, parts[:-1])))
    if stands is None:
        return rows
    others = {key: stand for key, stand in zip(keys.column("key").to_pylist(), stands, strict=True) if key != stand}
    if not others:
        return rows
    stand = from_driver(rows.sparkSession, pa.table({"key": list(others), "stand": list(others.values())}))
    joined = rows.join(F.broadcast(stand), "key", "left")
    return joined.withColumn("key", F.coalesce("stand", "key")).select(*rows.columns)


def _first_of_keys(flats: DataFrame) -> pa.Table:
    """``key`` and ``flat`` of the first row of each key, by rank; more than are compared, if there are more."""
    first = flats.groupBy("key").agg(F.min(F.struct("rank", "flat")).alias("first"))
    found = to_driver(first.select("key", "first.rank", "first.flat").limit(MOST + 1))
    return found.sort_by("rank").select(["key", "flat"])


def _have_sketches(rows: pa.Table) -> np.ndarray:
    return pc.fill_null(pc.greater(pc.utf8_length(rows.column("flat")), DIGEST_DIGITS), False).to_numpy()


def _keys(rows: pa.Table, kind: Prints) -> pa.Table:
    """``flat``, and the ``key`` that ``Prints.key`` makes of it and the text."""
    flat = rows.column("flat").to_pylist()
    texts = rows.column("texthash").to_pylist() if kind.config.text_col else [None] * len(flat)
    keys = [bytes.fromhex(one[:DIGEST_DIGITS]) + (text or "").encode() for one, text in zip(flat, texts, strict=True)]
    return pa.table({"key": pa.array(keys, pa.binary()), "flat": pa.array(flat, pa.string())})


def _stand_ins(flats: pa.Table, known: int) -> list[bytes] | None:
    """Of each the key of the first with the same text that shows the same and stands for itself; None if they are too
    many.

    Args:
        flats: ``key``, a digest and what of the text must be equal, and ``flat``, in keep order.
        known: how many at the start stand for themselves.
    """
    keys = flats.column("key").to_pylist()
    first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    if len(first) > MOST:
        log.warning(
            "more than %s different pictures are flat: only those of equal pixels or one color match", f"{MOST:,}"
        )
        return None
    by_text: dict[bytes, list[int]] = {}
    for place in sorted(first.values()):
        by_text.setdefault(keys[place][_DIGEST_BYTES:], []).append(place)
    stands = {key: key for key in first}
    for places in by_text.values():
        earlier = sum(place < known for place in places)
        if max(1, earlier) < len(places):
            sketched = sketches(flats.column("flat").take(pa.array(places)).to_pylist())
            for place, other in zip(places, earliest_same(sketched, earlier).tolist(), strict=True):
                stands[keys[place]] = keys[places[other]]
    return [stands[key] for key in keys]
