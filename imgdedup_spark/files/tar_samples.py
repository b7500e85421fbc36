"""The samples of a tar shard, as WebDataset has them: consecutive files of one name up to the first dot."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from imgdedup_spark.errors import CopyMismatch
from imgdedup_spark.files import storage
from imgdedup_spark.files.shares import Share, kept_masks
from imgdedup_spark.files.tar import BLOCK, Archive, Broken, Member, is_zipped

#: Endings of pictures: the last part of a file's name.
PICTURES = frozenset(["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"])
#: The key of the row that stands for what is behind a break. No sample's key ends in a part with a dot.
BREAK = ".broken"
# A text is small; what is larger is somebody's data.
_MOST_TEXT = 16 << 20
T = TypeVar("T")


def split_name(name: str) -> tuple[str, str] | None:
    """A file's key and its ending, in lower case; None where it belongs to no sample."""
    top = name.partition("/")[0]
    if len(top) >= 4 and top.startswith("__") and top.endswith("__"):
        return None  # the format's own notes
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    if not dot or not (stem or (slash and "." not in folder.rpartition("/")[2])):
        return None
    return folder + slash + stem, ending.lower()


def is_picture(ending: str) -> bool:
    return ending.rpartition(".")[2] in PICTURES


@dataclass
class Sample:
    """A row of a shard.

    Attributes:
        key: of its own in the shard: a key that comes again is ``key.2``, ``key.3``, …
        pictures: by ending.
        whole: contents of the pictures that do not lie in one piece, by ending; else None.
        texts: contents by ending, of those that were asked for.
        problem: what is wrong where the shard breaks off; such a row has nothing else.
    """

    key: str
    endings: list[str] = field(default_factory=list)
    pictures: dict[str, Member] = field(default_factory=dict)
    whole: dict[str, bytes | None] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    problem: str | None = None


def read_samples(archive: Archive, texts: frozenset[str]) -> Iterator[Sample]:
    """All samples in order; last, where the archive breaks off, one that says so.

    Args:
        texts: endings of files to be read.
    """
    sample, seen, last = None, dict[str, int](), -1

    def take(ending: str, member: Member) -> bytes | None:
        if ending in texts and member.size <= _MOST_TEXT:
            return archive.data(member)
        if member.is_sparse and is_picture(ending):
            return archive.data(member)
        archive.check(member)
        return None

    try:
        for row, key, ending, member, text in _files(archive, take):
            if row != last:
                if sample is not None:
                    yield sample
                last, shown = row, key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                seen[shown] = seen.get(shown, 0) + 1
                sample = Sample(shown if seen[shown] == 1 else f"{shown}.{seen[shown]}")
            assert sample is not None
            sample.endings.append(ending)
            if is_picture(ending):
                sample.pictures[ending] = member
                sample.whole[ending] = text
            elif text is not None:
                sample.texts[ending] = text
    except Broken as error:
        if sample is not None:
            yield sample
        yield Sample(BREAK, problem=str(error))
        return
    if sample is not None:
        yield sample


def _files(archive: Archive, take: Callable[[str, Member], T]) -> Iterator[tuple[int, str, str, Member, T]]:
    """The row, key and ending of each file of a sample, and what was taken of it.

    A file that a sample has already begins another one: where the format's library gives up, no picture is lost.
    """
    row, last, endings = -1, None, set[str]()
    for member in archive.members():
        named = split_name(member.name) if member.is_file else None
        if named is None:
            continue
        key, ending = named
        taken = take(ending, member)
        if key != last or ending in endings:
            row, last, endings = row + 1, key, set()
        endings.add(ending)
        yield row, key, ending, member, taken


def _held(archive: Archive, member: Member) -> Iterable[bytes]:
    """A member as it is stored, and is known to be there whole: a gzipped one cannot be read twice."""
    archive.check_size(member)
    if archive.zipped:
        return list(archive.chunks(member))
    archive.check(member)
    return archive.chunks(member)


def copy_tar(shares: Sequence[Share], dropped: Sequence[np.ndarray], out_uri: str) -> int:
    """Writes the samples of whole shards that are not dropped to one archive, byte for byte; returns how many rows.
    Folders, links and what else is in no sample stay behind. An archive of no samples is one all the same.

    Args:
        dropped: for each share the numbers of the rows to leave out.
        out_uri: plain URI; gzipped by its ending.

    Raises:
        CopyMismatch: a shard does not hold so many rows. Nothing is written.
        OSError: a file cannot be read.
    """
    masks = kept_masks(shares, dropped)
    with storage.open_output(out_uri) as stream:
        packed = is_zipped(out_uri)
        # Without a time, so that the same samples give the same bytes.
        output = gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) if packed else io.BufferedWriter(stream, 1 << 20)
        for share, mask in zip(shares, masks, strict=True):
            with Archive(share.uri) as archive:
                rows = 0
                try:
                    for number, *_, chunks in _files(archive, lambda _, member: _held(archive, member)):
                        rows = number + 1
                        if number < share.rows and mask[number]:
                            for chunk in chunks:
                                output.write(chunk)
                except Broken:
                    rows += 1
                if rows != share.rows:
                    raise CopyMismatch(f"{share.uri}: not the {share.rows} rows that were read")
        output.write(b"\0" * 2 * BLOCK)
        if packed:
            output.close()
        else:
            output.flush()
            # The stream is not the writer's to close.
            output.detach()
    return int(sum(mask.sum() for mask in masks))
