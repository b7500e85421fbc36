"""Some rows of a source, in bounded time whatever its size: always the same ones of the same data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from pyspark.sql import functions as F

from imgdedup_spark.read.columns import col
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.source import PLACE, FileState, Source

#: Where rows can only be passed over one by one, so many bytes of files are read for each row that is wanted.
BYTES_A_ROW = 200_000
_SHADES = 1 << 30
#: Bands of a hash in hexadecimal that a sample by bands looks at, and their digits: 16 bits.
BANDS = _DIGITS = 4


@dataclass(frozen=True)
class Sample:
    """Some rows.

    Attributes:
        rows: how many the whole source has; about, where ``exact`` is false.
        how: a sentence on how they were chosen.
        bands: of a sample by bands of hashes, the share of a band's values that is in it.
    """

    source: Source
    rows: int
    how: str
    exact: bool = True
    bands: float | None = None


def sample_rows(source: Source, most: int, id_col: str | None) -> Sample:
    """About so many rows at most, chosen by a hash of where they stand; whole files where rows have no fixed place."""
    if isinstance(source, FileSource) and not source.absolute:
        return _whole_files(source, most)
    count = source.frame.count()
    placed = PLACE in source.frame.columns
    if count <= most or not (placed or id_col):
        return Sample(source, count, "All rows were looked at.")
    where = [F.col(PLACE)[part] for part in ("file", "row")] if placed else [col(id_col or "").cast("string")]
    chosen = F.pmod(F.xxhash64(*where), F.lit(_SHADES)) < round(most / count * _SHADES)
    how = f"One row in {count / most:,.1f} was looked at, chosen by a hash of its place in the input."
    return Sample(replace(source, frame=source.frame.where(chosen)), count, how)


def _whole_files(source: FileSource, most: int) -> Sample:
    states = sorted(source.states, key=lambda state: hashlib.sha256(f"{state.input} {state.uri}".encode()).digest())
    total, chosen, size = sum(one.size for one in states), list[FileState](), 0
    for state in states:
        if chosen and size + state.size > most * BYTES_A_ROW:
            break
        chosen.append(state)
        size += state.size
    if len(chosen) == len(states):
        return Sample(source, source.frame.count(), "All rows were looked at.")
    part = source.only(sorted(chosen, key=lambda state: (state.input, state.uri)))
    rows = round(part.frame.count() * total / max(1, size))
    how = (
        f"The rows of {len(chosen):,} of {len(states):,} files were looked at, chosen by a hash of their names; how "
        "many rows the others have is told from their sizes."
    )
    return Sample(part, rows, how, exact=False)


def sample_bands(source: Source, hash_col: str, most: int) -> Sample:
    """About so many rows, chosen by what their hashes are: those of which one of four bands of 16 bits has one of a few
    values. Equal hashes are in it together or not at all, and so are, mostly, near ones."""
    count = source.frame.count()
    if count <= most:
        return Sample(source, count, "All rows were looked at.")
    share = 1 - (1 - most / count) ** (1 / BANDS)
    is_binary = source.schema[hash_col].dataType.simpleString() == "binary"
    text = F.lower(F.hex(col(hash_col)) if is_binary else F.trim(col(hash_col).cast("string")))
    chosen = F.lit(False)
    for number in range(BANDS):
        band = F.substring(text, 1 + number * _DIGITS, _DIGITS)
        chosen = chosen | (F.pmod(F.xxhash64(F.lit(number), band), F.lit(_SHADES)) < round(share * _SHADES))
    how = (
        f"Of {count:,} rows those were looked at of which one of the first {BANDS} bands of {4 * _DIGITS} bits of the "
        f"hash has one of {share:.3%} of the values: equal hashes are together in the sample or not at all, so that "
        "groups stay whole. A pair counts by how likely its bands are to be chosen."
    )
    return Sample(replace(source, frame=source.frame.where(chosen)), count, how, bands=share)


def shared_bands(one: str, other: str) -> int:
    """How many of the bands that samples are chosen by two hashes have in common."""
    cuts = [slice(number * _DIGITS, (number + 1) * _DIGITS) for number in range(BANDS)]
    return sum(one[cut] == other[cut] for cut in cuts)
