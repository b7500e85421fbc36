"""Copies a wheel without what it says of PySpark: on Databricks the platform's own must stay in place.

python conf/databricks/wheel.py dist/imgdedup_spark-*.whl dist/databricks
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

LEFT_OUT = b"Requires-Dist: pyspark"


def without_pyspark(wheel: Path, folder: Path) -> Path:
    """Returns the copy, of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(folder / wheel.name, "w", zipfile.ZIP_DEFLATED) as made:
        files = {one.filename: whole.read(one) for one in whole.infolist()}
        metadata = next(name for name in files if name.endswith(".dist-info/METADATA"))
        record = metadata.replace("METADATA", "RECORD")
        lines = files[metadata].splitlines(keepends=True)
        files[metadata] = b"".join(line for line in lines if not line.startswith(LEFT_OUT))
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[metadata]).digest()).decode().rstrip("=")
        entry = f"{metadata},sha256={digest},{len(files[metadata])}"
        listed = files[record].decode().splitlines()
        files[record] = "\n".join([*(entry if one.startswith(f"{metadata},") else one for one in listed), ""]).encode()
        for name, content in files.items():
            made.writestr(name, content)
    return folder / wheel.name


if __name__ == "__main__":
    print(without_pyspark(Path(sys.argv[1]), Path(sys.argv[2])))
