"""Where rows stand: from the place of each row, its id and its number in the input order.

``ORDER`` is a bigint that ascends in input order; ``id`` is the row's id. Rows from files get both from the
list of *pieces* (Spark's file splits), which is found after hashing, on the small table: so no extra pass over
the data. Other rows are sorted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import ByteType, IntegerType, LongType, ShortType

from imgdedup_spark.errors import JobError, UserError
from imgdedup_spark.files.pieces import Piece
from imgdedup_spark.read.columns import col
from imgdedup_spark.read.source import ID, PLACE, Source, plain_path, prefixes

ORDER = "order"


PIECE = "piece"


INPUT = "input"


#: A file's number and a row's number in it share one bigint: 2²⁷ files of 2³⁶ rows.
ROW_BITS = 36


# Names that no column of a user's has.
_PIECE_SCHEMA = (
    "__p_input int, __p_file string, __p_start bigint, __p_piece int, __p_ordinal bigint, __p_base bigint, "
    "__p_name string"
)


@dataclass(frozen=True)
class PlacedPiece(Piece):
    """A piece, and where it stands in the input.

    Attributes:
        number: 0 for the first piece in input order.
        input: index of the input it belongs to.
        name: the file's name in ids.
        ordinal: the file's number in input order.
        base: what to take off a row's mark in ``PLACE`` to get its number in the file.
    """

    number: int
    input: int
    name: str
    ordinal: int
    base: int


def where_columns(rows: DataFrame) -> list[str]:
    """The columns that say where a row stands, as far as they are there: ``order``, ``piece`` and ``input``."""
    return [name for name in (ORDER, PIECE, INPUT) if name in rows.columns]


def count_rows(rows: DataFrame, in_pieces: bool, *more: Column) -> list[Row]:
    """``rows``, how many there are of each ``input`` (null where rows do not know theirs) or, in pieces, of each
    ``input``, ``file``, ``start``, ``length``, with ``first``, their smallest mark.

    Args:
        more: aggregates to tell besides.
    """
    place = F.col(PLACE)
    if in_pieces:
        by = [place[part].alias(part) for part in ("input", "file", "start", "length")]
        more = (F.min(place["row"]).alias("first"), *more)
    elif INPUT in rows.columns:
        by = [F.col(INPUT).alias("input")]
    else:
        by = [(place["input"] if PLACE in rows.columns else F.lit(None).cast("int")).alias("input")]
    return rows.groupBy(*by).agg(F.count(F.lit(1)).alias("rows"), *more).collect()


def find_pieces(counts: Sequence[Row], source: Source) -> list[PlacedPiece]:
    """All pieces that hold rows, in input order: inputs as given, files by name, then by byte.

    Args:
        counts: of rows in pieces (``count_rows``).
    """
    names = _names([(one["input"], one["file"]) for one in counts], source)
    found = sorted(counts, key=lambda one: (one["input"], names[one["input"], one["file"]], one["start"]))
    pieces: list[PlacedPiece] = []
    by_file = groupby(found, key=lambda one: (one["input"], one["file"]))
    for ordinal, (key, group) in enumerate(by_file):
        first_row = 0
        for one in group:
            if source.numbered:
                first_row = one["first"]
            index, file = key
            piece = Piece(file, one["start"], one["length"], first_row, one["rows"])
            base = one["first"] - first_row
            where = {"number": len(pieces), "input": index, "name": names[key], "ordinal": ordinal, "base": base}
            pieces.append(PlacedPiece(**asdict(piece), **where))
            first_row += one["rows"]
    return pieces


def _names(files: Sequence[tuple[int, str]], source: Source) -> dict[tuple[int, str], str]:
    """Files are named by their path below the input; where two inputs have the same name, by the input too."""
    roots = [root.folder.rstrip("/") + "/" for root in source.roots]
    short = {}
    for index, file in files:
        path = plain_path(file)
        short[index, file] = (
            path.removeprefix(roots[index]) if path.startswith(roots[index]) else path.rpartition("/")[2]
        )
    count, heads = Counter(short.values()), prefixes(source.inputs)
    return {
        key: name if count[name] == 1 else heads[key[0]].removesuffix(f"{name}/") + name for key, name in short.items()
    }


def attach(
    prints: DataFrame,
    source: Source,
    pieces: Sequence[PlacedPiece],
    id_col: str | None,
    stage: Callable[[str, DataFrame], DataFrame],
) -> DataFrame:
    """Adds ``id``, ``order``, for rows in pieces ``piece``, and ``input`` where it is known; drops the place.

    Args:
        prints: has ``PLACE`` and/or ``id``.
        pieces: where the rows are, if they are in pieces.
        stage: freezes a DataFrame; what is numbered by sorting must not be numbered twice.

    Raises:
        UserError: ids of a DataFrame repeat or are null, so that they name no row.
    """
    if PLACE in prints.columns:
        prints = prints.withColumn(INPUT, F.col(PLACE)["input"])
    if source.in_pieces:
        return in_pieces(prints, source, pieces, id_col)
    if source.format != "images":
        _check_ids(prints, id_col)
    kind = prints.schema["id"].dataType
    if PLACE not in prints.columns and isinstance(kind, LongType | IntegerType | ShortType | ByteType):
        return prints.withColumn(ORDER, F.col("id").cast("long"))
    terms = [F.col(PLACE)[part] for part in ("input", "file", "row")] if PLACE in prints.columns else []
    ordered = prints.orderBy(*terms, "id").drop(PLACE).withColumn(ORDER, F.monotonically_increasing_id())
    return stage("ordered", ordered)


def in_pieces(
    frame: DataFrame,
    source: Source,
    pieces: Sequence[PlacedPiece],
    id_col: str | None,
    prefix: str = "",
) -> DataFrame:
    """Adds ``order``, ``piece`` and, without an id column, ``id`` to rows that have ``PLACE``.

    Args:
        prefix: put before the new columns' names, where the frame has columns of the user's.
    """
    spark, place = frame.sparkSession, F.col(PLACE)
    rows = [(one.input, one.uri, one.start, one.number, one.ordinal, one.base, one.name) for one in pieces]
    table = spark.createDataFrame(rows, schema=_PIECE_SCHEMA)
    on = [F.col(f"__p_{part}") == place[part] for part in ("input", "file", "start")]
    # A broadcast because the rows may hold pictures, which no shuffle should carry; a line a piece is small.
    joined = frame.join(F.broadcast(table), on)
    row = place["row"] - F.col("__p_base")
    order = (F.shiftleft(F.col("__p_ordinal"), ROW_BITS) + row).alias(prefix + ORDER)
    row_id = [] if id_col is not None else [F.concat("__p_name", F.lit("#"), row).alias(prefix + "id")]
    kept = [col(name) for name in frame.columns if name != PLACE]
    return joined.select(*kept, order, F.col("__p_piece").alias(prefix + PIECE), *row_id)


def _check_ids(prints: DataFrame, id_col: str | None) -> None:
    if id_col is None and ID in prints.columns:
        return
    bad = prints.groupBy("id").count().where("id is null or count > 1").limit(1).collect()
    if bad:
        what = (
            "is null in some rows"
            if bad[0]["id"] is None
            else f"has the value {bad[0]['id']!r} in {bad[0]['count']} rows"
        )
        raise UserError(f"id_col {id_col}: an id must name one row, and it {what}")


def placed_again(pieces: Sequence[PlacedPiece], source: Source, frame: DataFrame) -> list[PlacedPiece]:
    """The pieces in which another reading of (some of) the same files finds its rows. Spark cuts files by the total
    size of what it reads, so they may be others; the rows' numbers are the same.

    Raises:
        JobError: there are files that were not there before.
    """
    ordinals = {(piece.input, piece.uri): piece.ordinal for piece in pieces}
    again = find_pieces(count_rows(frame.select(PLACE), True), source)
    try:
        return [replace(piece, ordinal=ordinals[piece.input, piece.uri]) for piece in again]
    except KeyError as error:
        raise JobError(f"{error.args[0][1]} was not there before: did the input change during the run?") from None


def runs_of_files(pieces: Sequence[PlacedPiece]) -> list[list[PlacedPiece]]:
    """Consecutive files that one scan returns in input order, each as its first piece.

    Spark reads the pieces of a scan largest first. So only files of one piece each, ever smaller, keep their
    order in one scan; any other file needs a scan of its own.
    """
    runs: list[list[PlacedPiece]] = []
    last = None
    for _, group in groupby(pieces, key=lambda one: one.ordinal):
        first, *others = group
        fits = last is not None and not others and first.input == last.input and first.length < last.length
        if fits:
            runs[-1].append(first)
        else:
            runs.append([first])
        last = None if others else first
    return runs
