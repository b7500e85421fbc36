"""What is fuzzed: functions that fail if any bytes end in anything but a result or an error with a name."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.config.yaml_file import read_yaml
from imgdedup_spark.errors import UserError
from imgdedup_spark.files.csv_rows import csv_rows
from imgdedup_spark.files.failures import BROKEN
from imgdedup_spark.files.json_lines import row_texts
from imgdedup_spark.files.json_rows import Fields, parse_row
from imgdedup_spark.files.parquet_batches import BoundedFile
from imgdedup_spark.files.shares import Share
from imgdedup_spark.hash.worker import HashPictures
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.pictures.forms import check_type
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader

HASHER = Hasher([HashSpec("phash", 8), HashSpec("dhash", 8), HashSpec("pixels", 8)], max_pixels=1 << 20)
FOLDER = Path(tempfile.mkdtemp())
FILE = FOLDER / "file"
WORK = HashPictures(HASHER, PictureReader(PathRules((str(FOLDER),), False, ())), ("one", "two", "three"))


def pictures(data: bytes) -> None:
    """Of every picture a hash or an error, with a code."""
    found = HASHER.hash_batch([data])
    assert (found.hashes[0][0] is None) == (0 in found.errors)
    if found.errors:
        assert found.errors[0].code in type(found.errors[0]).CODES


def prints(images: pa.Array) -> None:
    """Of every value of a column that can hold pictures a print."""
    if check_type(images.type) is None:
        found = WORK.hash(pa.record_batch({"image": images}))
        assert found.num_rows == len(images)


def rows(data: bytes) -> None:
    """JSON, CSV and Parquet: of every file rows and their prints, or an error of those that readers tell of."""
    kind, content = data[:1], data[1:]
    FILE.write_bytes(content)
    if kind < b"\x55":
        parsed = [parse_row(text) for text in row_texts(Share(str(FILE), 0, 0, 0, len(content)))]
        found, fields = [one for one in parsed if isinstance(one, dict)], Fields()
        fields.add(found)
        try:
            columns = fields.columns(by_case=True)
        except UserError:
            return
        for one in columns.arrays(found):
            assert len(one) == len(found)
            prints(one)
    elif kind < b"\xaa":
        try:
            found = [row for row, problem in csv_rows(str(FILE)) if not problem]
        except UserError:
            return
        for name in {name for row in found for name in row}:
            prints(pa.array([row.get(name) for row in found], pa.string()))
    else:
        columns = []
        try:
            file = BoundedFile(io.BytesIO(content))
            for group in range(min(file.num_row_groups, 4)):
                # Asked for the metadata of a broken column, pyarrow ends the process; it raises only here.
                file.read_row_group(group)
                columns += [column for batch in file.bounded_batches(group, 16) for column in batch.columns]
        except BROKEN:
            pass
        for one in columns:
            prints(one)


def config(data: bytes) -> None:
    """Of every YAML file options that build a configuration, or the user's mistake in one line."""
    FILE.write_bytes(data)
    try:
        given = read_yaml(str(FILE))
        names = {name: value for name, value in given.items() if name in JobConfig.__dataclass_fields__}
        JobConfig(**names)
    except UserError as error:
        assert "\n" not in str(error)


def seeds(target: str, folder: Path) -> None:
    """A few files of each kind to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    if target == "pictures":
        picture = Image.linear_gradient("L").resize((24, 24)).convert("RGB")
        for name in [
            "JPEG",
            "PNG",
            "GIF",
            "WEBP",
            "BMP",
            "TIFF",
            "TGA",
            "PPM",
            "ICO",
            "JPEG2000",
            "AVIF",
            "DDS",
            "PCX",
        ]:
            picture.save(folder / name, name)
    elif target == "rows":
        small = io.BytesIO()
        Image.new("L", (2, 2), 7).save(small, "GIF")
        encoded = base64.b64encode(small.getvalue()).decode()
        lines = [
            {"image": "file", "n": 1, "more": f"data:image/gif;base64,{encoded}"},
            {"image": [encoded], "n": 1.5, "s": {"bytes": encoded, "path": None}, "more": json.dumps({"path": "file"})},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        (folder / "lines").write_bytes(b"\x00" + text)
        (folder / "array").write_bytes(b"\x00" + json.dumps(lines, indent=1).encode())
        (folder / "csv").write_bytes(b'\x60id,image\r\n1,"a ""b""\nc"\r\n2,\r\n')
        buffer = io.BytesIO()
        pq.write_table(pa.table({"image": [small.getvalue(), None, b"", b"x"], "n": [1, 2, 3, 4]}), buffer)
        (folder / "parquet").write_bytes(b"\xff" + buffer.getvalue())
    else:
        (folder / "one").write_text("input: in\nthreshold: 8\nverify: [phash:16:31]\nstages:\n  - method: phash\n")


TARGETS = {"pictures": pictures, "rows": rows, "config": config}
