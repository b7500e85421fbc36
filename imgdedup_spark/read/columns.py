"""Columns are checked at the door: which one holds the images, and whether each has a usable type."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    FloatType,
    MapType,
    NullType,
    NumericType,
    StringType,
    StructType,
)

from imgdedup_spark.config.dedup import KEEP_SIZES, DedupConfig
from imgdedup_spark.errors import UserError

VECTOR_TYPES = "an array of numbers, or a vector of Spark ML"
#: Tried in this order when --image-col is not given.
IMAGE_COLUMNS = ("images", "image")
IMAGE_TYPES = "binary, a struct with `bytes` and/or `path`, a string (path, base64 or data: URI), or an array of these"


def col(name: str) -> Column:
    """A top-level column by its very name, dots and spaces included."""
    return F.col("`" + name.replace("`", "``") + "`")


def image_column(schema: StructType, config: DedupConfig) -> str | None:
    """The column to read pictures from; None when ready hashes or embeddings replace them.

    Raises:
        UserError: it is missing or of another type.
    """
    if not config.reads_images:
        return None
    if config.image_col:
        name = config.image_col
    else:
        names = schema.fieldNames()
        spelled = [one for wanted in IMAGE_COLUMNS for one in names if one.lower() == wanted]
        found = [one for one in IMAGE_COLUMNS if one in names] or spelled
        if not found:
            raise UserError(f"--image-col: found neither `images` nor `image`; {_present(schema)}")
        name = found[0]
    kind = _column_type(schema, name, "--image-col")
    if not is_image_type(kind):
        raise UserError(f"--image-col {name}: expected {IMAGE_TYPES}; found {kind.simpleString()}")
    return name


def check_image_choice(partial: Collection[str], config: DedupConfig) -> None:
    """Raises:
    UserError: nobody has said which column holds the images, and some files call it by one of the names that are
        tried, some by another: the pictures of all but one would not be looked at.

    Args:
        partial: columns that some files do not have, in small letters.
    """
    if config.reads_images and not config.image_col and set(IMAGE_COLUMNS) <= set(partial):
        raise UserError(
            "--image-col: some files have `images` and others `image`; rename one of them, or say which to read"
        )


def is_image_type(kind: DataType) -> bool:
    if isinstance(kind, ArrayType):
        kind = kind.elementType
    if isinstance(kind, StructType):
        parts = {one.name: one.dataType for one in kind.fields}
        if not {"bytes", "path"} & parts.keys():
            return False
        # JSON has no binary: there `bytes` is base64 text.
        return isinstance(parts.get("bytes", BinaryType()), BinaryType | StringType | NullType) and isinstance(
            parts.get("path", StringType()), StringType | NullType
        )
    # A column that is null in every row is read as NullType from JSON lines: rows without images.
    return isinstance(kind, BinaryType | StringType | NullType)


def check_columns(schema: StructType, config: DedupConfig, emitted: Sequence[str]) -> None:
    """Checks the columns that the options name.

    Args:
        emitted: columns that ``emit_hashes`` adds.

    Raises:
        UserError: one is missing, of a type the option cannot use, or has the name of one to add.
    """
    if config.id_col:
        kind = _column_type(schema, config.id_col, "--id-col")
        if isinstance(kind, MapType | ArrayType | StructType):
            raise UserError(f"--id-col {config.id_col}: an id is a single value; found {kind.simpleString()}")
    if config.text_col:
        kind = _column_type(schema, config.text_col, "--text-col")
        if not isinstance(kind, StringType | NullType):
            raise UserError(f"--text-col {config.text_col}: expected string; found {kind.simpleString()}")
    if config.hash_col:
        kind = _column_type(schema, config.hash_col, "--hash-col")
        if not isinstance(kind, StringType | BinaryType | NullType):
            raise UserError(
                f"--hash-col {config.hash_col}: expected string (hex) or binary; found {kind.simpleString()}"
            )
    if config.embedding_col:
        kind = _column_type(schema, config.embedding_col, "--embedding-col")
        if not is_vector_type(kind):
            raise UserError(
                f"--embedding-col {config.embedding_col}: expected {VECTOR_TYPES}; found {kind.simpleString()}"
            )
    taken = set(emitted) & set(schema.fieldNames())
    if config.emit_hashes and taken:
        raise UserError(f"--emit-hashes: the input already has a column `{min(taken)}`")
    for name in row_terms(config):
        kind = _column_type(schema, name, f"--keep {config.keep!r}")
        if isinstance(kind, MapType):
            raise UserError(f"--keep {config.keep!r}: column {name} of type {kind.simpleString()} has no order")


def named_columns(config: DedupConfig) -> list[str]:
    """Every column that the options name."""
    names = [
        config.id_col,
        config.text_col,
        config.hash_col or config.embedding_col or config.image_col or IMAGE_COLUMNS[0],
        *row_terms(config),
    ]
    return list(dict.fromkeys(name for name in names if name))


def row_terms(config: DedupConfig) -> Sequence[str]:
    """The columns of the input that --keep sorts by; sizes are measured, unless no image is read."""
    names = [term.column for term in config.keep_terms if not config.reads_images or term.column not in KEEP_SIZES]
    return list(dict.fromkeys(names))


def _column_type(schema: StructType, name: str, option: str) -> DataType:
    if name not in schema.fieldNames():
        raise UserError(f"{option}: there is no column `{name}`; {_present(schema)}")
    return schema[name].dataType


def _present(schema: StructType) -> str:
    return "the input has " + (", ".join(schema.fieldNames()) or "no columns")


def is_vector_type(kind: DataType) -> bool:
    if isinstance(kind, ArrayType):
        return isinstance(kind.elementType, NumericType | NullType)
    # A column that is null in every row is read as NullType from JSON lines: rows without embeddings.
    return isinstance(kind, NullType) or _is_ml_vector(kind)


def _is_ml_vector(kind: DataType) -> bool:
    # By name, because importing pyspark.ml takes a second.
    return type(kind).__name__ == "VectorUDT"


def as_numbers(column: Column, kind: DataType) -> Column:
    """A column of ``VECTOR_TYPES`` as array<float> or array<double>."""
    if _is_ml_vector(kind):
        from pyspark.ml.functions import vector_to_array

        return vector_to_array(column)
    is_float = isinstance(kind, ArrayType) and isinstance(kind.elementType, FloatType)
    return column if is_float else column.cast("array<double>")


def check_unique(prints: DataFrame, id_col: str | None) -> None:
    """Raises:
    UserError: an ``id`` names no row or several.
    """
    bad = prints.groupBy("id").count().where("id is null or count > 1").limit(1).collect()
    if bad:
        value, rows = bad[0]["id"], bad[0]["count"]
        what = "is null in some rows" if value is None else f"has the value {value!r} in {rows} rows"
        raise UserError(f"--id-col {id_col}: an id must name one row, and it {what}")


def ready_hash(column: Column, kind: DataType) -> tuple[Column, Column]:
    """A ready hash of a column of this type as text, and that in lower case without white space around it; where there
    is none, null and empty."""
    text = F.lower(F.hex(column)) if isinstance(kind, BinaryType) else column.cast("string")
    return text, F.lower(F.regexp_replace(F.coalesce(text, F.lit("")), r"\A\s+|\s+\z", ""))
