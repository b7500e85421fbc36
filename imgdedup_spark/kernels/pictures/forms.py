"""The forms in which a column may hold pictures, told apart value by value."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.errors import ImageError, UserError
from imgdedup_spark.kernels.arrow import slices_of
from imgdedup_spark.kernels.pictures.signatures import begins_a_picture

ACCEPTED = (
    "binary, string (a path, URL, base64 or data: URI), struct with `bytes` and/or `path`, or an array of one of these"
)
# Linux's PATH_MAX: a longer string is no path.
LONGEST_PATH = 4096
# Standard and URL-safe alphabet with MIME's line ends, and the length of head that the magic numbers need.
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BASE64_HEAD = 24


def check_type(type_: pa.DataType) -> str | None:
    """None if a column of this Arrow type can be an image column, else what is accepted."""
    if _is_list(type_):
        type_ = type_.value_type
    if pa.types.is_null(type_) or _is_binary(type_) or _is_string(type_):
        return None
    if pa.types.is_struct(type_):
        content, path = _field_type(type_, "bytes"), _field_type(type_, "path")
        # JSON has no binary: there `bytes` is base64 text, or null beside a path.
        content_fits = _is_binary(content) or _is_string(content) or pa.types.is_null(content)
        path_fits = _is_string(path) or pa.types.is_null(path)
        if content_fits and path_fits and {field.name for field in type_} & {"bytes", "path"}:
            return None
    return ACCEPTED


@dataclass(frozen=True)
class Base64:
    text: memoryview


@dataclass(frozen=True)
class DataUri:
    text: memoryview


@dataclass(frozen=True)
class Stretch:
    """A stretch of a file, from the byte ``start`` of what it decompresses to."""

    path: str
    start: int
    size: int


#: Fields of structs that a source itself has made: which stretch of ``path`` is meant; and the path as it is whatever
#: its bytes, percent-encoded. Data may have fields of these names, where they mean nothing.
START, SIZE, QUOTED = "__imgdedup_start", "__imgdedup_size", "__imgdedup_quoted"
# What stands in the column (a str is a path or URL), and the same once paths have been looked up.
Value = memoryview | Base64 | DataUri | Stretch | str | ImageError


@dataclass(frozen=True)
class Entries:
    row: np.ndarray
    position: np.ndarray
    values: list[Value]


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))


def _is_binary(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


def _is_string(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _field_type(type_: pa.StructType, name: str) -> pa.DataType:
    index = type_.get_field_index(name)
    return pa.null() if index < 0 else type_.field(index).type


def entries_of(column: pa.Array | pa.ChunkedArray, *, own_structs: bool = False) -> Entries:
    """One entry for each picture of the column.

    Args:
        own_structs: whether structs are the source's own, in which ``START``, ``SIZE`` and ``QUOTED`` have a meaning.

    Raises:
        UserError: the column has no accepted type.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if check_type(column.type) is not None:
        raise UserError(f"an image column cannot be {column.type}; accepted: {ACCEPTED}")
    if _is_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(len(column), dtype=np.int32), lengths)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        positions = (np.arange(len(rows)) - starts).astype(np.int32)
        column = column.flatten()
    else:
        rows, positions = np.arange(len(column), dtype=np.int32), np.zeros(len(column), np.int32)
    values = _values(column, own_structs=own_structs)
    present = [index for index, value in enumerate(values) if value is not None]
    return Entries(rows[present], positions[present], [value for value in values if value is not None])


def _values(column: pa.Array, *, own_structs: bool) -> list[Value | None]:
    """What each element of a flat column is (None: no picture)."""
    nothing: list[None] = [None] * len(column)
    if pa.types.is_null(column.type):
        return list(nothing)
    if _is_binary(column.type):
        return list(slices_of(column))
    if _is_string(column.type):
        return [None if text is None else _in_text(text) for text in slices_of(column)]
    content, path = _field(column, "bytes"), _field(column, "path")
    names = [
        None if name is None else str(name, "utf-8", "surrogateescape")
        for name in (slices_of(path) if path else nothing)
    ]
    contents: Sequence[Value | None] = nothing
    if content:
        slices = slices_of(content)
        contents = slices if _is_binary(content.type) else [t if t is None else _encoded(t) for t in slices]
    paths = _checked(names)
    if own_structs:
        paths = _own_paths(column, paths)
    return [name if value is None else value for value, name in zip(contents, paths, strict=True)]


def _own_paths(column: pa.StructArray, paths: list[Value | None]) -> list[Value | None]:
    """The paths as the source's own fields have them."""
    if quoted := _field(column, QUOTED):
        return [one and unquote(one, errors="surrogateescape") for one in quoted.to_pylist()]
    if {START, SIZE} <= {field.name for field in column.type}:
        bounds = zip(column.field(START).to_pylist(), column.field(SIZE).to_pylist(), strict=True)
        return [Stretch(one, *at) if isinstance(one, str) else one for one, at in zip(paths, bounds, strict=True)]
    return paths


def _checked(names: list[str | None]) -> list[Value | None]:
    return [ImageError("empty", "an empty path") if name == "" else name for name in names]


def _field(column: pa.StructArray, name: str) -> pa.Array | None:
    """A field that holds values, with the nulls of the struct itself."""
    if pa.types.is_null(_field_type(column.type, name)):
        return None
    return pc.struct_field(column, [column.type.get_field_index(name)])


def _in_text(text: memoryview) -> Value | None:
    """As ``_classify``; a struct may be written as JSON, where it shares a column with strings."""
    if text[:1] == b"{":
        try:
            found = json.loads(bytes(text))
        except (ValueError, RecursionError):
            found = {}
        if {"bytes", "path"} & found.keys():
            content, path = (_bytes_of(found.get(name)) for name in ("bytes", "path"))
            if content is not None:
                return _encoded(memoryview(content))
            return None if path is None else _checked([path.decode("utf-8", "surrogateescape")])[0]
    return _classify(text)


def _bytes_of(text: object) -> bytes | None:
    """Of text in JSON, which can spell the bytes of a file's name as Python does, and halves of surrogate pairs that no
    text holds."""
    if not isinstance(text, str):
        return None
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _classify(text: memoryview) -> Value:
    """Whether a string is a data: URI, base64, or a path or URL.

    The base64 of a JPEG starts with ``/9j/``, so it looks like an absolute path, and a path without an ending
    can be fair base64. So it is base64 only if all of it fits and it decodes to the start of an image, or is
    longer than any path.
    """
    if not text:
        return ImageError("empty", "an empty string")
    head = bytes(text[:_BASE64_HEAD])
    if head[:5].lower() == b"data:":
        return DataUri(text)
    is_image = _is_image_head(head)
    is_long = len(text) > LONGEST_PATH
    if is_image and is_long:
        return Base64(text)  # even if it does not decode: then it is broken base64
    if (is_image or is_long) and _fits_base64(bytes(text)):
        return Base64(text)
    return str(text, "utf-8", "surrogateescape")  # as names of files are


def _encoded(text: memoryview) -> Value:
    """Text where only encoded bytes can stand."""
    return DataUri(text) if bytes(text[:5]).lower() == b"data:" else Base64(text)


def _fits_base64(text: bytes) -> bool:
    body = text.translate(None, b"\r\n")
    letters = body.rstrip(b"=")
    padding = len(body) - len(letters)
    if letters.translate(None, _BASE64):
        return False
    return len(body) % 4 == 0 if padding else len(body) % 4 != 1


def _is_image_head(head: bytes) -> bool:
    """Whether this head of a base64 text begins a file of a known format."""
    if len(head) < _BASE64_HEAD:  # no image is that small
        return False
    try:
        start = base64.b64decode(head.translate(_URL_SAFE), validate=True)
    except ValueError:
        return False
    return begins_a_picture(start)


def decode_base64(text: bytes) -> bytes:
    body = text.translate(_URL_SAFE, b"\r\n\t ")
    if not body.endswith(b"="):
        body += b"=" * (-len(body) % 4)  # padding is often left out
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise ImageError("bad_base64", "the base64 text does not decode") from error


def decode_data_uri(text: memoryview) -> bytes:
    """RFC 2397: ``data:[type][;parameter]*[;base64],content``."""
    head, comma, content = bytes(text).partition(b",")
    if not comma:
        raise ImageError("bad_base64", "the data: URI has no comma before its content")
    content = unquote_to_bytes(content) if b"%" in content else content
    return decode_base64(content) if head.lower().rstrip().endswith(b";base64") else content
