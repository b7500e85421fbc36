"""Does the job read what Pillow reads, and nothing else, and are its exact hashes those of ``imagehash``?

python tests/corpora/check.py FOLDER…      # every file below them; exit status 1 if one is not as `known.csv` says

Each file is one line of a table if the two differ: what the job says, what Pillow says.
"""

from __future__ import annotations

import csv
import resource
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import imagehash
from PIL import Image, ImageOps

from imgdedup_spark import hash_bytes
from imgdedup_spark.errors import ImageError
from imgdedup_spark.kernels.pictures.trouble import quiet

KNOWN = Path(__file__).with_name("known.csv")
# Pillow has no bounds but that of pixels: what asks for more memory than this is an error by both.
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def by_pillow(path: Path, read: Counter[str]) -> tuple[str, str]:
    """``read`` and the hash (empty if the job promises no bits of it: deep or transparent), or ``error`` and why.

    Args:
        read: counts the pictures that are read, by format.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            plain = upright.mode in ("1", "L", "P", "RGB", "YCbCr", "CMYK") and not upright.has_transparency_data
            hash_ = str(imagehash.phash(upright)) if plain else ""
            read[str(picture.format)] += 1
            return "read", hash_
    except Exception as error:  # whatever a decoder raises
        return "error", f"{type(error).__name__}: {error}"[:100]


def by_job(path: Path) -> tuple[str, str]:
    """The same of the job."""
    try:
        return "read", hash_bytes(path.read_bytes(), "phash", decode="exact")
    except ImageError as error:
        return "error", f"{error.code}: {error}"[:100]


def differences(files: list[Path], read: Counter[str]) -> Iterator[tuple[Path, str, str, str]]:
    """File, what differs, and what the job and Pillow say. See ``by_pillow``."""
    for file in files:
        ours, theirs = by_job(file), by_pillow(file, read)
        if ours[0] != theirs[0]:
            yield file, f"{ours[0]} here, {theirs[0]} by Pillow", ours[1], theirs[1]
        elif ours[0] == "read" and theirs[1] and ours[1] != theirs[1]:
            yield file, "another hash", ours[1], theirs[1]


def main(folders: list[str]) -> int:
    files = sorted(file for folder in folders for file in Path(folder).rglob("*") if file.is_file())
    with KNOWN.open(encoding="utf-8") as lines:
        known = {row["file"]: row for row in csv.DictReader(lines)}
    counts: Counter[str] = Counter()
    read: Counter[str] = Counter()
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        found = list(differences(files, read))
    for file, what, ours, theirs in found:
        why = known.get(file.name, {"difference": "", "why": ""})
        counts["known" if why["difference"] == what else "new"] += 1
        if why["difference"] != what:
            print(f"{file.name}: {what}; here: {ours}; Pillow: {theirs}")
    print(f"{len(files)} files, {read.total()} of them pictures that Pillow reads, in {len(read)} formats")
    print(f"{len(found)} that differ, {counts['new']} of them not as known.csv says")
    return 1 if counts["new"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
