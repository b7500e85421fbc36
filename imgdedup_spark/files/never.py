"""Pairs of ids that are never matched with each other, as people write them down and as the report downloads them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.files.by_hand import read_by_hand

log = logging.getLogger("imgdedup")
_FORM = "it holds pairs of ids, in columns `a` and `b`, as CSV, JSON lines or Parquet"


def read_never(path: str, option: str = "--never") -> pa.Table:
    """The pairs of a file as a table of the strings ``a`` and ``b``.

    Raises:
        UserError: it is not there, or is no such file.
    """
    pairs = read_by_hand(path, f"{option} {path}", _FORM, ("a", "b")).select(["a", "b"])
    same = pc.sum(pc.equal(pairs["a"], pairs["b"])).as_py()
    if same:
        log.warning("%s %s: pairs of an id with itself are no pairs: %s; ids that days share cannot be told apart: "
                    "give rows ids of their own (--id-col)", option, path, f"{same:,}")  # fmt: skip
    return pairs


@dataclass(frozen=True)
class Never:
    """Ids by number: ``names[i]`` has number ``i + 1``.

    Attributes:
        names: (k,) every id that a pair names, once.
        pairs: (m, 2) numbers of ids that are never matched with each other.
    """

    names: pa.Array
    pairs: npt.NDArray[np.int64]

    @classmethod
    def of(cls, tables: Sequence[pa.Table]) -> Never:
        """Of pairs as ``read_never`` returns them. An id with itself is no pair."""
        pairs = pa.concat_tables(tables)
        chunks = [chunk for name in ("a", "b") for chunk in pairs[name].chunks]
        names = pa.chunked_array(chunks, pa.string()).unique()
        numbers = np.stack([_numbers(pairs[name], names) for name in ("a", "b")], axis=1).reshape(-1, 2)
        return cls(names, numbers[numbers[:, 0] != numbers[:, 1]])

    def numbers(self, ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """(n,) the numbers of rows with these ids; 0 for an id that is in no pair."""
        if pa.types.is_binary(ids.type) or pa.types.is_large_binary(ids.type):
            # As the report shows them.
            text = pa.chunked_array([pa.array([one and one.hex() for one in ids.to_pylist()], pa.string())])
            return _numbers(text, self.names)
        return _numbers(ids.cast(pa.string()), self.names)

    def moved(self, keepers: Mapping[str, str]) -> Never:
        """The same pairs with rows in the place of others: what must not match the one must not match the other.

        Args:
            keepers: id → the id that takes its place.
        """
        names = [keepers.get(one, one) for one in self.names.to_pylist()]
        found = [[names[number - 1] for number in column] for column in self.pairs.T.tolist()]
        return Never.of([pa.table({"a": pa.array(found[0], pa.string()), "b": pa.array(found[1], pa.string())})])

    def unknown(self, known: Collection[int], among: pa.Table) -> list[str]:
        """The ids of a table of pairs whose numbers no row has."""
        mine = Never.of([among]).names
        numbers = _numbers(mine, self.names)
        return mine.filter(pa.array(~np.isin(numbers, list(known)))).to_pylist()


def _numbers(ids: pa.Array | pa.ChunkedArray, names: pa.Array) -> npt.NDArray[np.int64]:
    found = pc.fill_null(pc.index_in(ids, value_set=names), -1)
    return np.asarray(found, dtype=np.int64) + 1
