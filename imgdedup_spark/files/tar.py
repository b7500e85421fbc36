"""Tar archives read member by member, plain or gzipped: nothing is ever extracted to disk.

Headers are POSIX's (ustar and pax) and GNU's, and are taken apart here, because a copy needs to know where each member
begins and ends, and because what a hostile header may ask for is bounded.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imgdedup_spark.files import storage
from imgdedup_spark.files.regular import open_regular

BLOCK = 512
#: Bytes of a pax header, of a long name, or of a sparse file's map.
_MOST_NOTES = 1 << 20
#: Bytes of a sparse file that is read, stored and expanded.
_MOST_SPARSE = 64 << 20
#: Bytes of a member of a gzipped archive: what is packed a thousandfold must not fill a memory.
_MOST_ZIPPED = 1 << 30
_CHUNK = 1 << 20
# Links, devices, folders and pipes have no data, whatever size they state.
_NO_DATA = frozenset(b"123456")
_FILES = frozenset(b"\x0007S")
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"xX", b"g", b"L", b"K", b"S"


class Broken(Exception):
    """From here on an archive cannot be read."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        name: as it is written there; bytes that are no UTF-8 as surrogates.
        head: its headers.
        offset, size: of its data, in bytes of the archive as it is when decompressed.
        is_file: whether it is a file, and not a folder, a link, a device or a header for all members behind it.
        is_sparse: whether its data leave out zeros.
    """

    name: str
    head: bytes
    offset: int
    size: int
    is_file: bool
    is_sparse: bool = False

    @property
    def padding(self) -> int:
        return -self.size % BLOCK


def is_zipped(uri: str) -> bool:
    """Whether an archive is gzipped, by its ending."""
    return uri.lower().endswith((".gz", ".tgz"))


class Archive:
    """An archive that is open for reading.

    Args:
        uri: its ending tells whether it is gzipped.
        real: the path of a local one without links, as it was checked, which ``open_regular`` opens.

    Raises:
        OSError: the file cannot be opened; and, in each method, read.
    """

    def __init__(self, uri: str, real: str | None = None) -> None:
        self._raw: Any
        if real is None:
            opened, path = storage.open_fs(uri)
            self._raw = opened.open_input_file(path)
        else:
            self._raw = open_regular(real)
        self._size = self._raw.seek(0, io.SEEK_END)
        self._raw.seek(0)
        # A local file costs little to read at another place; a remote one a request.
        buffered: Any = io.BufferedReader(self._raw, 1 << 13 if storage.is_local(uri) else 1 << 20)
        self.zipped = is_zipped(uri)
        self._stream = gzip.GzipFile(fileobj=buffered, mode="rb") if self.zipped else buffered

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the decompressed archive: fewer at its end.

        Raises:
            Broken: it does not decompress.
        """
        if not self.zipped:
            self._stream.seek(offset)
            return bytes(self._stream.read(size))
        try:
            if offset < self._stream.tell():
                self._stream.rewind()
            while (ahead := offset - self._stream.tell()) > 0:
                if not self._stream.read(min(ahead, _CHUNK)):
                    return b""
            return bytes(self._stream.read(size))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Broken(f"does not decompress: {error}") from None

    def data(self, member: Member) -> bytes:
        """A member's content.

        Raises:
            Broken: the archive ends in it, or it is a sparse file that cannot be read.
        """
        if member.is_sparse:
            return self._sparse(member)
        found = self.read(member.offset, member.size)
        if len(found) < member.size:
            raise Broken(f"ends in {member.name}")
        return found

    def chunks(self, member: Member) -> Iterator[bytes]:
        """A member as it is stored, with its headers and padding.

        Raises:
            Broken: the archive ends in it.
        """
        yield member.head
        for start in range(0, member.size, _CHUNK):
            size = min(_CHUNK, member.size - start)
            part = self.read(member.offset + start, size)
            if len(part) < size:
                raise Broken(f"ends in {member.name}")
            yield part
        yield b"\0" * member.padding

    def check(self, member: Member) -> None:
        """Raises:
        Broken: the archive ends in the member, or it is gzipped and the member too large to be held.
        """
        self.check_size(member)
        end = member.offset + member.size
        whole = end <= self._size if not self.zipped else not member.size or bool(self.read(end - 1, 1))
        if not whole:
            raise Broken(f"ends in {member.name}")

    def check_size(self, member: Member) -> None:
        """As ``check``, of a gzipped archive's bounds alone."""
        if self.zipped and member.size > _MOST_ZIPPED:
            raise Broken(f"is gzipped, with {member.size:,} bytes of {member.name}")

    def _sparse(self, member: Member) -> bytes:
        if member.size > _MOST_SPARSE:
            raise Broken(f"{member.name} is a sparse file of {member.size:,} bytes")
        try:
            with tarfile.open(fileobj=io.BytesIO(b"".join(self.chunks(member)) + b"\0" * 2 * BLOCK)) as one:
                info = one.next()
                stream = one.extractfile(info) if info is not None and info.size <= _MOST_SPARSE else None
                if stream is None:
                    raise Broken(f"{member.name} is a sparse file that is too large, or none")
                return stream.read()
        except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
            raise Broken(f"{member.name} is a sparse file that cannot be read: {error}") from None

    def members(self) -> Iterator[Member]:
        """All of them, in order. Their data may be read while they are the last that was given.

        Raises:
            Broken: what comes next is no member.
        """
        at, everywhere = 0, ""
        while True:
            head, name, size = b"", "", -1
            while True:
                block = self.read(at, BLOCK)
                if not block and (not at or (not self.zipped and at > self._size)):
                    raise Broken(f"ends at byte {self._size:,}")
                if not head and (not block or not block.strip(b"\0")):
                    return
                kind, stated = _header(block, at)
                at += BLOCK
                if kind not in _PAX + _PAX_GLOBAL + _LONG_NAME + _LONG_LINK:
                    break
                notes = self._notes(at, stated)
                padded = notes + b"\0" * (-stated % BLOCK)
                if kind == _PAX_GLOBAL:
                    everywhere = _pax(notes, at).get("path", everywhere)
                    yield Member("", block + padded, at + len(padded), 0, is_file=False)
                else:
                    head += block + padded
                    if kind == _LONG_NAME:
                        name = name or _text(notes)
                    elif kind in _PAX:
                        found = _pax(notes, at)
                        name = found.get("GNU.sparse.name") or name or found.get("path", "").rstrip("/")
                        size = _decimal(found["size"], at) if "size" in found else size
                at += len(padded)
            is_sparse, more, own = kind == _SPARSE or b"GNU.sparse." in head, block[482:483], _own_name(block, kind)
            head += block
            while kind == _SPARSE and more.strip(b"\0"):
                block, at = self.read(at, BLOCK), at + BLOCK
                if len(block) < BLOCK or len(head) > _MOST_NOTES:
                    raise Broken(f"ends in the map of a sparse file at byte {at:,}")
                head, more = head + block, block[504:505]
            stated = size if size >= 0 else stated
            is_folder = kind == b"\0" and own.endswith("/")
            if kind[0] in _NO_DATA or is_folder:
                stated = 0
            yield Member(name or everywhere or own, head, at, stated, kind[0] in _FILES and not is_folder, is_sparse)
            at += stated + -stated % BLOCK

    def _notes(self, at: int, size: int) -> bytes:
        if size > _MOST_NOTES:
            raise Broken(f"has a header of {size:,} bytes at byte {at:,}")
        found = self.read(at, size)
        if len(found) < size:
            raise Broken(f"ends in a header at byte {at:,}")
        return found


def _header(block: bytes, at: int) -> tuple[bytes, int]:
    """A header's type, and the size that it states."""
    if len(block) < BLOCK:
        raise Broken(f"ends in a header at byte {at:,}")
    stated = _number(block[148:156], at)
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if stated not in (total, total - 256 * sum(one > 127 for one in block[:148] + block[156:])):
        raise Broken(f"has no header at byte {at:,}")
    return block[156:157], _number(block[124:136], at)


def _number(field: bytes, at: int) -> int:
    """Octal, or what GNU writes where that has too few digits."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.partition(b"\0")[0].strip()
    if text.strip(b"01234567"):
        raise Broken(f"has no header at byte {at:,}")
    return int(text or b"0", 8)


def _decimal(text: str, at: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Broken(f"has a wrong size in the header at byte {at:,}")
    return int(text)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _own_name(block: bytes, kind: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return f"{prefix}/{name}" if prefix and kind != _SPARSE else name


def _pax(notes: bytes, at: int) -> dict[str, str]:
    """Records of ``length key=value``, each with a line end."""
    found, place = {}, 0
    while place < len(notes) and notes[place]:
        length, _, _ = notes[place : place + 20].partition(b" ")
        end = place + (int(length) if length.isdigit() else 0)
        record = notes[place + len(length) + 1 : end - 1]
        if end <= place + len(length) + 2 or end > len(notes) or b"=" not in record:
            raise Broken(f"has a wrong header at byte {at:,}")
        key, _, value = record.partition(b"=")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        place = end
    return found
