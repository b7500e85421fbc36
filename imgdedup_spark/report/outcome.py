"""An output folder's tables in the driver, without Spark."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgdedup_spark.config.sections import EMBEDDINGS
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.kernels.hashes.quality import FLOOR

#: Reasons of rows that were dropped for one that is not of this run.
OUTSIDE = ("in_index", "in_reference")
#: Before the id of a keeper from outside; no id that anybody writes begins so.
_MARK = "\0outside\0"


@dataclass(frozen=True)
class Outcome:
    """What a run has found.

    Attributes:
        duplicates, hashes, errors: as in the output folder, with ids as strings.
        summary: what summary.json holds.
    """

    duplicates: pa.Table
    hashes: pa.Table
    errors: pa.Table
    summary: Mapping[str, Any]

    @classmethod
    def of(cls, duplicates: pa.Table, hashes: pa.Table, errors: pa.Table, summary: Mapping[str, Any]) -> Outcome:
        """Of tables with ids of any type, in any order."""
        hashes = _with_text(hashes, "id")
        # Sorted, so that what is shown of equals does not depend on how files were split.
        return cls(
            _with_text(duplicates, "id", "kept_id", "via_id").sort_by("id"),
            hashes.sort_by("id"),
            _with_text(errors, "id").sort_by("id"),
            summary,
        )

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's options."""
        return self.summary.get("config", {})

    @property
    def step(self) -> Mapping[str, Any]:
        """The options of the stage whose hashes are in ``hashes``: the first."""
        stages = self.config.get("stages") or [{}]
        return {**self.config, **stages[0]}

    @cached_property
    def outside(self) -> np.ndarray:
        """(m,) bool of ``duplicates``: dropped for a row of an index or another data set, whose id may be a row's of
        this run as well."""
        reasons = pa.array(OUTSIDE, pa.string())
        return np.asarray(pc.is_in(self.duplicates.column("reason").combine_chunks(), reasons))

    @cached_property
    def marked(self) -> pa.Table:
        """``duplicates`` with ``keeper``: ``kept_id``, marked where it is from ``outside`` (see ``known_as``)."""
        kept = self.duplicates.column("kept_id").combine_chunks()
        keeper = pc.if_else(pa.array(self.outside), pc.binary_join_element_wise(_MARK, kept, ""), kept)
        return self.duplicates.append_column("keeper", keeper)

    def known_as(self, keepers: pa.Array) -> tuple[pa.Array, np.ndarray]:
        """The ids of ``keeper``s, and where each is in ``hashes``: -1 for those from outside."""
        outside = np.asarray(pc.fill_null(pc.starts_with(keepers, _MARK), False))
        ids = pc.if_else(pa.array(outside), pc.utf8_slice_codeunits(keepers, len(_MARK)), keepers)
        return ids, np.where(outside, -1, self.rows(ids))

    @cached_property
    def ids(self) -> pa.Array:
        """(n,) of ``hashes``."""
        return self.hashes.column("id").combine_chunks()

    @cached_property
    def keepers(self) -> np.ndarray:
        """(n,) bool: the rows of ``hashes`` that were not dropped as duplicates."""
        return ~np.asarray(pc.is_in(self.ids, self.duplicates.column("id").combine_chunks()))

    @cached_property
    def flat(self) -> np.ndarray:
        """(n,) bool: the rows of ``hashes`` with a picture that is too flat for a hash; none if there are no hashes."""
        if self.step.get("method") in EMBEDDINGS:
            return np.zeros(len(self.ids), bool)
        return np.asarray(pc.fill_null(pc.less(self.hashes.column("quality"), FLOOR), False))

    def rows(self, ids: pa.Array) -> np.ndarray:
        """(m,) where each id is in ``hashes``; -1 where it is not."""
        return np.asarray(pc.fill_null(pc.index_in(ids, self.ids), -1))

    def facts(self, row: int) -> dict[str, Any]:
        """``width``, ``height``, ``bytes`` and ``quality`` of a row of ``hashes``; nothing for -1."""
        if row < 0:
            return {}
        return {name: self.hashes.column(name)[row].as_py() for name in ("width", "height", "bytes", "quality")}


def read_outcome(folder: str, summary: Mapping[str, Any] | None = None) -> Outcome:
    """Reads a finished run's folder.

    Args:
        summary: the run's, if it is not there; else it is read.

    Raises:
        UserError: there is none.
    """
    where = f"--output {folder}"
    try:
        summary = summary or json.loads(storage.read_text(storage.join(folder, "summary.json")))
        return read_parts(folder, summary)
    except (OSError, UserError, ValueError, pa.ArrowException):
        raise UserError(
            f"{where}: no finished run is there; name the folder that a run has written with --output"
        ) from None


def read_parts(folder: str, summary: Mapping[str, Any]) -> Outcome:
    """The parts of a run that has this summary."""
    duplicates, hashes, errors = (_read(storage.join(folder, name)) for name in ("duplicates", "hashes", "errors"))
    return Outcome.of(duplicates, hashes, errors, summary)


def _read(folder: str) -> pa.Table:
    opened, path = storage.open_fs(folder)
    table = pq.read_table(path, filesystem=opened)
    if not table.column_names:
        raise FileNotFoundError(errno.ENOENT, "no Parquet file is there", folder)
    return table


def _with_text(table: pa.Table, *names: str) -> pa.Table:
    for name in names:
        if name in table.column_names:
            at = table.column_names.index(name)
            table = table.set_column(at, name, text_of(table.column(name)))
    return table


def text_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as strings: bytes in hexadecimal."""
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return pa.chunked_array([pa.array([one and one.hex() for one in column.to_pylist()], pa.string())])
    return column.cast(pa.string())
