"""From the values of the image column to the bytes of each picture.

``PictureReader`` takes a column in any of the contract's forms and yields flat lists: one entry for each
picture of the batch, with its row and its place in the row's list. It reads files under the rules of
``PathRules``; whatever cannot be read is an ``ImageError`` beside its entry, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from imgdedup_spark.errors import ImageError, UserError
from imgdedup_spark.files import storage
from imgdedup_spark.files.regular import open_regular
from imgdedup_spark.files.tar_parts import read_part
from imgdedup_spark.kernels.pictures.forms import (
    Base64,
    DataUri,
    Entries,
    Stretch,
    Value,
    decode_base64,
    decode_data_uri,
    entries_of,
)
from imgdedup_spark.kernels.pictures.paths import (
    URL,
    FileSource,
    PathRules,
    open_file_system,
    os_error,
    remote_file,
    shortened,
    sized,
    storage_error,
)
from imgdedup_spark.kernels.pictures.reading import DEFAULT_MAX_BYTES
from imgdedup_spark.kernels.pictures.stores import ask_store

__all__ = ["PictureReader", "Pictures"]
# A remote file takes tens of milliseconds, nearly all of it waiting.
_REMOTE_READERS = 16
In = TypeVar("In")
Out = TypeVar("Out")


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


class PictureReader:
    """Reads the pictures of an image column. Can be pickled; file systems are opened once in each process.

    Relative roots are resolved where the reader is made, since workers run in other folders.

    Args:
        max_bytes: larger files are refused (``too_large``) before they are read.
        own_structs: see ``entries_of``.
    """

    def __init__(self, rules: PathRules, max_bytes: int = DEFAULT_MAX_BYTES, *, own_structs: bool = False) -> None:
        self.max_bytes, self.own_structs = max_bytes, own_structs
        self._last: tuple[tuple[str, str], FileSource] | None = None
        roots, stores = (tuple(map(storage.absolute, some)) for some in (rules.roots, rules.stores))
        self.rules = replace(rules, roots=roots, stores=stores)

    def read(self, column: pa.Array | pa.ChunkedArray, inputs: np.ndarray | None = None) -> Pictures:
        """All pictures of a batch at once. See ``read_chunks``."""
        entries = entries_of(column, own_structs=self.own_structs)
        return _load(entries, [self._bounded(one) for one in self._locate(entries, inputs)], 0, len(entries.row))

    def read_chunks(
        self, column: pa.Array | pa.ChunkedArray, inputs: np.ndarray | None, max_bytes: int
    ) -> Iterator[Pictures]:
        """The same in parts of at most ``max_bytes`` of file content, or of one larger picture.

        ``inputs`` is the (rows,) int32 number of each row's input, an index into ``PathRules.roots``; None
        means that all are 0. Null values and empty lists have no entry, nor have null elements of a list
        (those after them keep their positions). No pictures, no parts.
        """
        entries = entries_of(column, own_structs=self.own_structs)
        sources = [self._bounded(one) for one in self._locate(entries, inputs)]
        start = held = 0
        for index, source in enumerate(sources):
            size = _size(source)
            if index > start and held + size > max_bytes:
                yield _load(entries, sources, start, index)
                start, held = index, 0
            held += size
        if start < len(sources):
            yield _load(entries, sources, start, len(sources))

    def _bounded(self, source: _Source) -> _Source:
        size = _size(source)
        if size <= self.max_bytes:
            return source
        shown = f"{shortened(source.shown)}: " if isinstance(source, FileSource) else ""
        return ImageError("too_large", f"{shown}{size:,} bytes are more than {self.max_bytes:,} (--max-bytes)")

    def _locate(self, entries: Entries, inputs: np.ndarray | None) -> list[_Source]:
        """The entries with every path checked and its file's size known; nothing is opened yet."""
        roots = self.rules.roots
        number = np.zeros(len(entries.row), np.int32) if inputs is None else np.asarray(inputs)[entries.row]

        def locate(item: tuple[Value, int]) -> _Source:
            value, root = item
            if isinstance(value, Stretch):
                return _attempt(value, self._find_stretch, roots[root])
            return _attempt(value, self._find_file, roots[root]) if isinstance(value, str) else value

        waiting = any(
            isinstance(value, str) and (URL.match(value) or not storage.is_local(roots[root]))
            for value, root in zip(entries.values, number, strict=True)
        )
        return _map(locate, list(zip(entries.values, number, strict=True)), waiting)

    def _find_file(self, text: str, root: str) -> FileSource:
        return sized(self._find(text, root))

    def _find_stretch(self, value: Stretch, root: str) -> FileSource:
        # Thousands in a row lie in one file.
        key = (value.path, root)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._find(value.path, root))
        return sized(replace(self._last[1], shown=value.path, size=value.size, start=value.start))

    def _find(self, text: str, root: str) -> FileSource:
        """The file that a path or URL names, if the rules allow it. Raises ImageError; JobError if Spark alone opens
        its store."""
        if not URL.match(text):
            return self._find_path(text, root)
        try:
            return self._find_url(text, text, root)
        except ImageError as error:
            # Some writers percent-encode URLs and others (Hadoop) do not: the name as it stands goes first.
            if error.code != "not_found" or "%" not in text:
                raise
            return self._find_url(text, unquote(text, errors="surrogateescape"), root)

    def _find_path(self, text: str, root: str) -> FileSource:
        if text.startswith("/"):
            return self.rules.find_local(text, text, root, relative=False)
        if storage.is_local(root):
            return self.rules.find_local(text, f"{storage.absolute(root)}/{text}", root, relative=True)

        def ask() -> FileSource:
            opened, base = open_file_system(text, root)
            return remote_file(text, opened, f"{base}/{text}", base)

        return replace(ask_store(root, text, ask), store=root)

    def _find_url(self, shown: str, url: str, root: str) -> FileSource:
        try:
            scheme, _, path = storage.split_uri(url)
        except UserError as error:
            raise ImageError("unsupported_url", f"{shortened(shown)}: a file: URL names no host") from error
        if not self.rules.knows(scheme, root):
            raise ImageError("unsupported_url", f"{shortened(shown)}: {scheme} URLs are not read")
        if scheme == "file":
            return self.rules.find_local(shown, path, root, relative=False)
        # Before it is opened: asking a store for a file is a request that a row has made.
        self.rules.check_url(shown, url, root)
        found = ask_store(url, shown, lambda: remote_file(shown, *open_file_system(shown, url), None))
        return replace(found, store=url)


_Source = memoryview | Base64 | DataUri | FileSource | ImageError


def _size(source: _Source) -> int:
    """Bytes of content, near enough to bound memory."""
    if isinstance(source, memoryview):
        return source.nbytes
    if isinstance(source, (Base64, DataUri)):
        return source.text.nbytes * 3 // 4
    return source.size if isinstance(source, FileSource) else 0


def _content(source: _Source) -> bytes | memoryview:
    """Raises ImageError."""
    if isinstance(source, ImageError):
        raise source
    if isinstance(source, memoryview):
        data: bytes | memoryview = source
    elif isinstance(source, Base64):
        data = decode_base64(bytes(source.text))
    elif isinstance(source, DataUri):
        data = decode_data_uri(source.text)
    elif source.start is not None:
        data = _read_stretch(source)
    else:
        data = _read_local(source) if source.opened is None else _read_remote(source)
    if not len(data):
        shown = f"{shortened(source.shown)}: " if isinstance(source, FileSource) else ""
        raise ImageError("empty", f"{shown}no bytes at all")
    return data


def _read_local(file: FileSource) -> bytes:
    try:
        with open_regular(file.path) as stream:
            return stream.readall()
    except OSError as error:
        raise os_error(file.shown, error) from error


def _read_stretch(file: FileSource) -> bytes:
    assert file.start is not None
    try:
        return read_part(file.shown, file.start, file.size, file.path if file.opened is None else None)
    except Exception as error:  # as below
        raise storage_error(file.shown, error) from error


def _read_remote(file: FileSource) -> bytes:
    opened = file.opened
    assert opened is not None

    def read() -> bytes:
        try:
            with opened.open_input_stream(file.path, compression=None) as stream:
                return stream.read()
        except Exception as error:  # as above
            raise storage_error(file.shown, error) from error

    return ask_store(file.store, file.shown, read, file.size)


def _load(entries: Entries, sources: list[_Source], start: int, stop: int) -> Pictures:
    part = sources[start:stop]
    # Stretches of one archive share a stream.
    waiting = any(isinstance(one, FileSource) and one.opened is not None and one.start is None for one in part)
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
    except UnicodeError:  # bytes that no name on that store has
        return ImageError("not_found", f"{shortened(str(item))}: no such file (not a possible path)")


def _map(function: Callable[[In], Out], items: list[In], waiting: bool) -> list[Out]:
    """Maps in order; with threads where the time goes into waiting for remote storage."""
    if not waiting or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(_REMOTE_READERS, len(items))) as pool:
        return list(pool.map(function, items))
