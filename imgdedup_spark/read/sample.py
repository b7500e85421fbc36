"""Some rows of a source, in bounded time whatever its size: always the same ones of the same data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from pyspark.sql import functions as F

from imgdedup_spark.read.columns import col, ready_hash
from imgdedup_spark.read.files import FileSource
from imgdedup_spark.read.source import PLACE, FileState, Source

#: Where rows can only be passed over one by one, so many bytes of files are read for each row that is wanted.
BYTES_A_ROW = 200_000
#: Formats in which a row is read without those before it.
_JUMPED = frozenset({"parquet", "images", "list"})
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
    """About so many rows at most: of files whose rows can only be passed over one by one some, and of those rows some,
    chosen by a hash of where they stand."""
    share, more = 1.0, ""
    if source.divisible and source.format not in _JUMPED:
        source, share, more = _few_files(source, most)
    count = source.known_rows or source.frame.count()
    rows = round(count / share)
    placed = PLACE in source.frame.columns
    # Rows that have no number in their file would be others in another reading.
    fixed = source.absolute if isinstance(source, FileSource) else placed or id_col is not None
    if count <= most or not fixed:
        return Sample(source, rows, more or "All rows were looked at.", exact=share == 1)
    where = [F.col(PLACE)[part] for part in ("file", "row")] if placed else [col(id_col or "").cast("string")]
    chosen = F.pmod(F.xxhash64(*where), F.lit(_SHADES)) < round(most / count * _SHADES)
    how = f"One row in {count / most:,.1f} {'of those ' if more else ''}was looked at, chosen by a hash of its place."
    how = f"{more} {how}".strip()
    return Sample(replace(source, frame=source.frame.where(chosen), known_rows=0), rows, how, exact=share == 1)


def _few_files(source: Source, most: int) -> tuple[Source, float, str]:
    """Some whole files of a source, at least one; the share of the bytes that they have; and a sentence on it."""
    states = sorted(source.states, key=lambda state: hashlib.sha256(f"{state.input} {state.uri}".encode()).digest())
    total, chosen, size = sum(one.size for one in states), list[FileState](), 0
    for state in states:
        if chosen and size + state.size > most * BYTES_A_ROW:
            break
        chosen.append(state)
        size += state.size
    if len(chosen) == len(states) or not total:
        return source, 1.0, ""
    how = (
        f"{len(chosen):,} of {len(states):,} files were read, chosen by a hash of their names; how many rows the "
        "others have is told from their sizes."
    )
    return source.only(sorted(chosen, key=lambda state: (state.input, state.uri))), size / total, how


def sample_bands(source: Source, hash_col: str, most: int) -> Sample:
    """About so many rows, chosen by what their hashes are: those of which one of four bands of 16 bits has one of a few
    values. Equal hashes are in it together or not at all, and so are, mostly, near ones."""
    count = source.known_rows or source.frame.count()
    if count <= most:
        return Sample(source, count, "All rows were looked at.")
    share = 1 - (1 - most / count) ** (1 / BANDS)
    _, text = ready_hash(col(hash_col), source.schema[hash_col].dataType)
    chosen = F.lit(False)
    for number in range(BANDS):
        band = F.substring(text, 1 + number * _DIGITS, _DIGITS)
        chosen = chosen | (F.pmod(F.xxhash64(F.lit(number), band), F.lit(_SHADES)) < round(share * _SHADES))
    how = (
        f"Of {count:,} rows those were looked at of which one of the first {BANDS} bands of {4 * _DIGITS} bits of the "
        f"hash has one of {share:.3%} of the values: equal hashes are together in the sample or not at all, so that "
        "groups stay whole. A pair counts by how likely its bands are to be chosen."
    )
    return Sample(replace(source, frame=source.frame.where(chosen), known_rows=0), count, how, bands=share)


def shared_bands(one: str, other: str) -> int:
    """How many of the bands that samples are chosen by two hashes have in common."""
    cuts = [slice(number * _DIGITS, (number + 1) * _DIGITS) for number in range(BANDS)]
    return sum(one[cut] == other[cut] for cut in cuts)
