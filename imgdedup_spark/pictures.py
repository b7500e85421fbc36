"""From the values of the image column to the bytes of each picture.

``PictureReader`` takes a column in any of the contract's forms and yields flat lists: one entry for each
picture of the batch, with its row and its place in the row's list. It reads files under the rules of
``PathRules``; whatever cannot be read is an ``ImageError`` beside its entry, never an exception.
"""

from __future__ import annotations

import base64
import errno
import itertools
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from imgdedup_spark import storage
from imgdedup_spark.errors import ImageError, UserError

__all__ = ["PathRules", "PictureReader", "Pictures", "check_type"]

ACCEPTED = (
    "binary, string (a path, URL, base64 or data: URI), struct with `bytes` and/or `path`, or an array of one of these"
)

# What URLs in the data may name. A root of another scheme can be given, but no row can ask for one by itself.
_SCHEMES = {"file", "s3", "gs", "hdfs", "viewfs", "abfs", "abfss"}
# Linux's PATH_MAX: a longer string is no path.
_LONGEST_PATH = 4096
# Arrow's 32-bit binary arrays, and so Spark's, hold no more in one value.
_LARGEST_FILE = 2**31 - 1
# A remote file takes tens of milliseconds, nearly all of it waiting.
_REMOTE_READERS = 16
# Messages show this many characters of a path.
_SHOWN = 200

# The second form is Hadoop's (`file:/x`); one letter before it is no scheme.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z][A-Za-z0-9+.-]+:/")
# Standard and URL-safe alphabet with MIME's line ends, and the length of head that the magic numbers need.
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BASE64_HEAD = 24

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class PathRules:
    """Which files the image column may name.

    Attributes:
        roots: for each input the folder (plain path or URL) where its relative paths start and must stay.
        explicit: the root was given by ``--image-root``: absolute paths and URLs must lie in it too.
    """

    roots: tuple[str, ...]
    explicit: bool


@dataclass(frozen=True)
class Pictures:
    """The pictures of a batch, or of a part of it, flat and in order.

    Attributes:
        row: (n,) int32, the row in the batch, ascending.
        position: (n,) int32, the index in the row's list; 0 where the column holds single images.
        data: n file contents (bytes, or a memoryview into the batch); None where there is an error.
        errors: by index into ``data``.
        size: (n,) int64, bytes; 0 where there is an error.
    """

    row: np.ndarray
    position: np.ndarray
    data: list[bytes | memoryview | None]
    errors: dict[int, ImageError]
    size: np.ndarray


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


class PictureReader:
    """Reads the pictures of an image column. Can be pickled; file systems are opened once in each process.

    Relative roots are resolved where the reader is made, since workers run in other folders.
    """

    def __init__(self, rules: PathRules) -> None:
        self.rules = replace(rules, roots=tuple(storage.absolute(root) for root in rules.roots))

    def read(self, column: pa.Array | pa.ChunkedArray, inputs: np.ndarray | None = None) -> Pictures:
        """All pictures of a batch at once. See ``read_chunks``."""
        entries = _entries(column)
        return _load(entries, self._locate(entries, inputs), 0, len(entries.row))

    def read_chunks(
        self, column: pa.Array | pa.ChunkedArray, inputs: np.ndarray | None, max_bytes: int
    ) -> Iterator[Pictures]:
        """The same in parts of at most ``max_bytes`` of file content, or of one larger picture.

        ``inputs`` is the (rows,) int32 number of each row's input, an index into ``PathRules.roots``; None
        means that all are 0. Null values and empty lists have no entry, nor have null elements of a list
        (those after them keep their positions). No pictures, no parts.
        """
        entries = _entries(column)
        sources = self._locate(entries, inputs)
        start = held = 0
        for index, source in enumerate(sources):
            size = _size(source)
            if index > start and held + size > max_bytes:
                yield _load(entries, sources, start, index)
                start, held = index, 0
            held += size
        if start < len(sources):
            yield _load(entries, sources, start, len(sources))

    def _locate(self, entries: _Entries, inputs: np.ndarray | None) -> list[_Source]:
        """The entries with every path checked and its file's size known; nothing is opened yet."""
        roots = self.rules.roots
        number = np.zeros(len(entries.row), np.int32) if inputs is None else np.asarray(inputs)[entries.row]

        def locate(item: tuple[_Value, int]) -> _Source:
            value, root = item
            return _attempt(value, self._find, roots[root]) if isinstance(value, str) else value

        waiting = any(
            isinstance(value, str) and (_URL.match(value) or not storage.is_local(roots[root]))
            for value, root in zip(entries.values, number, strict=True)
        )
        return _map(locate, list(zip(entries.values, number, strict=True)), waiting)

    def _find(self, text: str, root: str) -> _File:
        """The file that a path or URL names, if the rules allow it. Raises ImageError."""
        if not _URL.match(text):
            return self._find_path(text, root)
        try:
            return self._find_url(text, text, root)
        except ImageError as error:
            # Some writers percent-encode URLs and others (Hadoop) do not: the name as it stands goes first.
            if error.code != "not_found" or "%" not in text:
                raise
            return self._find_url(text, unquote(text), root)

    def _find_path(self, text: str, root: str) -> _File:
        if text.startswith("/"):
            return _local_file(text, text, root if self.rules.explicit else None)
        if storage.is_local(root):
            return _local_file(text, f"{storage.absolute(root)}/{text}", root)
        opened, base = _open(text, root)
        return _remote_file(text, opened, f"{base}/{text}", base)

    def _find_url(self, shown: str, url: str, root: str) -> _File:
        try:
            scheme, authority, path = storage.split_uri(url)
        except UserError as error:
            raise ImageError("unsupported_url", f"{_cut(shown)}: a file: URL names no host") from error
        root_scheme, root_authority, _ = storage.split_uri(root)
        if scheme not in _SCHEMES and scheme != root_scheme:
            raise ImageError("unsupported_url", f"{_cut(shown)}: {scheme} URLs are not read")
        if scheme == "file":
            return _local_file(shown, path, root if self.rules.explicit else None)
        if not self.rules.explicit:
            return _remote_file(shown, *_open(shown, url), None)
        if (scheme, authority) != (root_scheme, root_authority):
            raise _forbidden(shown)
        return _remote_file(shown, *_open(shown, url), _open(shown, root)[1])


@dataclass(frozen=True)
class _Base64:
    text: memoryview


@dataclass(frozen=True)
class _DataUri:
    text: memoryview


@dataclass(frozen=True)
class _File:
    shown: str
    opened: fs.FileSystem | None  # None: a local file, by its real path
    path: str
    size: int


# What stands in the column (a str is a path or URL), and the same once paths have been looked up.
_Value = memoryview | _Base64 | _DataUri | str | ImageError
_Source = memoryview | _Base64 | _DataUri | _File | ImageError


@dataclass(frozen=True)
class _Entries:
    row: np.ndarray
    position: np.ndarray
    values: list[_Value]


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))


def _is_binary(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


def _is_string(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _field_type(type_: pa.StructType, name: str) -> pa.DataType:
    index = type_.get_field_index(name)
    return pa.null() if index < 0 else type_.field(index).type


def _entries(column: pa.Array | pa.ChunkedArray) -> _Entries:
    """One entry for each picture of the column. Raises UserError if the column has no accepted type."""
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
    values = _values(column)
    present = [index for index, value in enumerate(values) if value is not None]
    return _Entries(rows[present], positions[present], [value for value in values if value is not None])


def _values(column: pa.Array) -> list[_Value | None]:
    """What each element of a flat column is (None: no picture)."""
    nothing: list[None] = [None] * len(column)
    if pa.types.is_null(column.type):
        return list(nothing)
    if _is_binary(column.type):
        return list(_slices(column))
    if _is_string(column.type):
        return [None if text is None else _classify(text) for text in _slices(column)]
    content, path = _field(column, "bytes"), _field(column, "path")
    names = [None if name is None else str(name, "utf-8") for name in (_slices(path) if path else nothing)]
    contents: Sequence[_Value | None] = nothing
    if content:
        slices = _slices(content)
        contents = slices if _is_binary(content.type) else [t if t is None else _encoded(t) for t in slices]
    return [name if value is None else value for value, name in zip(contents, _checked(names), strict=True)]


def _checked(names: list[str | None]) -> list[_Value | None]:
    return [ImageError("empty", "an empty path") if name == "" else name for name in names]


def _field(column: pa.StructArray, name: str) -> pa.Array | None:
    """A field that holds values, with the nulls of the struct itself."""
    if pa.types.is_null(_field_type(column.type, name)):
        return None
    return pc.struct_field(column, [column.type.get_field_index(name)])


def _slices(array: pa.Array) -> list[memoryview | None]:
    """The bytes of each value of a binary or string array, without copying; None for nulls."""
    if len(array) == 0:
        return []
    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64 if wide else np.int32)
    bounds = offsets[array.offset : array.offset + len(array) + 1].tolist()
    # Arrow's views are of signed bytes; unsigned ones compare and index as bytes objects do.
    view = memoryview(data if data is not None else b"").cast("B").toreadonly()
    slices: list[memoryview | None] = [view[start:end] for start, end in itertools.pairwise(bounds)]
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        slices = [piece if ok else None for piece, ok in zip(slices, valid, strict=True)]
    return slices


def _classify(text: memoryview) -> _Value:
    """Whether a string is a data: URI, base64, or a path or URL.

    The base64 of a JPEG starts with ``/9j/``, so it looks like an absolute path, and a path without an ending
    can be fair base64. So it is base64 only if all of it fits and it decodes to the start of an image, or is
    longer than any path.
    """
    if not text:
        return ImageError("empty", "an empty string")
    head = bytes(text[:_BASE64_HEAD])
    if head[:5].lower() == b"data:":
        return _DataUri(text)
    is_image = _is_image_head(head)
    is_long = len(text) > _LONGEST_PATH
    if is_image and is_long:
        return _Base64(text)  # even if it does not decode: then it is broken base64
    if (is_image or is_long) and _fits_base64(bytes(text)):
        return _Base64(text)
    return str(text, "utf-8")


def _encoded(text: memoryview) -> _Value:
    """Text where only encoded bytes can stand."""
    return _DataUri(text) if bytes(text[:5]).lower() == b"data:" else _Base64(text)


def _fits_base64(text: bytes) -> bool:
    body = text.translate(None, b"\r\n")
    letters = body.rstrip(b"=")
    padding = len(body) - len(letters)
    if letters.translate(None, _BASE64):
        return False
    return len(body) % 4 == 0 if padding else len(body) % 4 != 1


def _is_image_head(head: bytes) -> bool:
    """Whether base64 starts a file of a known image format (magic numbers)."""
    if len(head) < _BASE64_HEAD:  # no image is that small
        return False
    try:
        start = base64.b64decode(head.translate(_URL_SAFE), validate=True)
    except ValueError:
        return False
    return (
        start.startswith(
            (
                b"\xff\xd8\xff",  # JPEG
                b"\x89PNG\r\n\x1a\n",
                b"GIF8",
                b"II*\0",  # TIFF, little and big endian
                b"MM\0*",
                b"\0\0\0\x0cjP  ",  # JPEG 2000, boxed and bare
                b"\xff\x4f\xff\x51",
                b"8BPS",  # Photoshop
                b"\0\0\1\0",  # icon
            )
        )
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or (start[:2] == b"BM" and start[6:10] == b"\0\0\0\0")
        or start[4:8] == b"ftyp"  # AVIF and HEIF
    )


def _decode_base64(text: bytes) -> bytes:
    body = text.translate(_URL_SAFE, b"\r\n\t ")
    if not body.endswith(b"="):
        body += b"=" * (-len(body) % 4)  # padding is often left out
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise ImageError("bad_base64", "the base64 text does not decode") from error


def _decode_data_uri(text: memoryview) -> bytes:
    """RFC 2397: ``data:[type][;parameter]*[;base64],content``."""
    head, comma, content = bytes(text).partition(b",")
    if not comma:
        raise ImageError("bad_base64", "the data: URI has no comma before its content")
    content = unquote_to_bytes(content) if b"%" in content else content
    return _decode_base64(content) if head.lower().rstrip().endswith(b";base64") else content


def _local_file(shown: str, path: str, root: str | None) -> _File:
    """A local file by its real path, inside ``root`` if one is given.

    Looked up without being opened: opening a pipe waits for its writer, and some devices never end.
    """
    _check_text(shown, path)
    real = os.path.realpath(path)
    if root is not None and not _within(real, os.path.realpath(storage.absolute(root))):
        raise _forbidden(shown)
    try:
        status = Path(real).stat()
    except OSError as error:
        raise _os_error(shown, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not_a_file", f"{_cut(shown)}: not a regular file")
    return _sized(_File(shown, None, real, status.st_size))


def _remote_file(shown: str, opened: fs.FileSystem, path: str, root: str | None) -> _File:
    """A file of another file system, inside ``root`` (a path there) if one is given."""
    _check_text(shown, path)
    path = posixpath.normpath(path)
    if root is not None and not _within(path, posixpath.normpath(root)):
        raise _forbidden(shown)
    try:
        info = opened.get_file_info(path)
    except Exception as error:  # every library behind a file system raises kinds of its own
        raise _storage_error(shown, error) from error
    if info.type == fs.FileType.NotFound:
        raise ImageError("not_found", f"{_cut(shown)}: no such file")
    if info.type != fs.FileType.File:
        raise ImageError("not_a_file", f"{_cut(shown)}: not a regular file")
    return _sized(_File(shown, opened, path, info.size or 0))


def _check_text(shown: str, path: str) -> None:
    if "\0" in path or len(path.encode("utf-8")) > _LONGEST_PATH:
        raise ImageError("not_found", f"{_cut(shown)}: no such file (not a possible path)")


def _sized(file: _File) -> _File:
    if file.size > _LARGEST_FILE:
        raise ImageError("too_large", f"{_cut(file.shown)}: {file.size} bytes; the most is {_LARGEST_FILE}")
    return file


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _open(shown: str, uri: str) -> tuple[fs.FileSystem, str]:
    try:
        return storage.open_fs(uri)
    except storage.UnsupportedScheme as error:
        raise ImageError("unsupported_url", f"{_cut(shown)}: nothing installed opens this URL") from error
    except UserError as error:
        raise ImageError("unreadable", f"{_cut(shown)}: its file system cannot be opened") from error


def _cut(shown: str) -> str:
    """A path as the user wrote it, on one line of bounded length."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown[:_SHOWN])
    return line if len(shown) <= _SHOWN else line + "…"


def _forbidden(shown: str) -> ImageError:
    return ImageError("forbidden_path", f"{_cut(shown)}: outside the image root")


def _os_error(shown: str, error: OSError) -> ImageError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return ImageError("not_found", f"{_cut(shown)}: no such file")
    if error.errno == errno.ELOOP:
        return ImageError("not_found", f"{_cut(shown)}: a symbolic link that leads nowhere")
    reason = os.strerror(error.errno) if error.errno else "the storage failed"
    return ImageError("unreadable", f"{_cut(shown)}: {reason}")


def _storage_error(shown: str, error: Exception) -> ImageError:
    """Request numbers and the like in remote messages differ from run to run: only the kind is told."""
    if isinstance(error, OSError) and error.errno:
        return _os_error(shown, error)
    return ImageError("unreadable", f"{_cut(shown)}: the storage failed ({type(error).__name__})")


def _size(source: _Source) -> int:
    """Bytes of content, near enough to bound memory."""
    if isinstance(source, memoryview):
        return source.nbytes
    if isinstance(source, (_Base64, _DataUri)):
        return source.text.nbytes * 3 // 4
    return source.size if isinstance(source, _File) else 0


def _content(source: _Source) -> bytes | memoryview:
    """Raises ImageError."""
    if isinstance(source, ImageError):
        raise source
    if isinstance(source, memoryview):
        data: bytes | memoryview = source
    elif isinstance(source, _Base64):
        data = _decode_base64(bytes(source.text))
    elif isinstance(source, _DataUri):
        data = _decode_data_uri(source.text)
    else:
        data = _read_local(source) if source.opened is None else _read_remote(source)
    if not len(data):
        shown = f"{_cut(source.shown)}: " if isinstance(source, _File) else ""
        raise ImageError("empty", f"{shown}no bytes at all")
    return data


def _read_local(file: _File) -> bytes:
    """Reads the real path that was checked; swapped since, it follows no link and waits for no pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(file.path, "rb", buffering=0, opener=lambda path, _: os.open(path, flags)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ImageError("not_a_file", f"{_cut(file.shown)}: not a regular file")
            return stream.readall()
    except OSError as error:
        raise _os_error(file.shown, error) from error


def _read_remote(file: _File) -> bytes:
    assert file.opened is not None
    try:
        with file.opened.open_input_stream(file.path, compression=None) as stream:
            return stream.read()
    except Exception as error:  # as above
        raise _storage_error(file.shown, error) from error


def _load(entries: _Entries, sources: list[_Source], start: int, stop: int) -> Pictures:
    part = sources[start:stop]
    waiting = any(isinstance(source, _File) and source.opened is not None for source in part)
    contents = _map(lambda source: _attempt(source, _content), part, waiting)
    return Pictures(
        row=entries.row[start:stop],
        position=entries.position[start:stop],
        data=[None if isinstance(content, ImageError) else content for content in contents],
        errors={i: content for i, content in enumerate(contents) if isinstance(content, ImageError)},
        size=np.array([0 if isinstance(c, ImageError) else len(c) for c in contents], np.int64),
    )


def _attempt(item: In, function: Callable[..., Out], *more: object) -> Out | ImageError:
    try:
        return function(item, *more)
    except ImageError as error:
        return error


def _map(function: Callable[[In], Out], items: list[In], waiting: bool) -> list[Out]:
    """Maps in order; with threads where the time goes into waiting for remote storage."""
    if not waiting or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(_REMOTE_READERS, len(items))) as pool:
        return list(pool.map(function, items))
