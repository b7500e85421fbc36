"""Builds the demo's data set: photographs that ship with scikit-image, with known copies and edits, as Parquet.

python demo/make_data.py FOLDER
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import skimage.data
from PIL import Image, ImageDraw, ImageEnhance

PHOTOGRAPHS = [
    "astronaut",
    "camera",
    "cat",
    "coffee",
    "coins",
    "colorwheel",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "logo",
    "moon",
    "page",
    "rocket",
    "brick",
    "cell",
    "clock",
    "text",
]
CROPS = 12  # different pictures from each photograph
ROWS_A_FILE = 150


def photographs() -> Iterator[tuple[str, Image.Image]]:
    for name in PHOTOGRAPHS:
        try:
            pixels = getattr(skimage.data, name)()
        except Exception:
            # Some of scikit-image's pictures are downloaded on first use; the demo needs no network.
            continue
        yield name, Image.fromarray(pixels).convert("RGB")


def encoded(picture: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def edits(picture: Image.Image, original: bytes, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Some of the ways a picture turns up again in a crawl."""
    width, height = picture.size
    marked = picture.copy()
    ImageDraw.Draw(marked).text((8, height - 20), "(c) example", fill=(255, 255, 255))
    turned = Image.Exif()
    turned[0x0112] = 6
    possible = [
        ("the same file", original),
        ("re-encoded", encoded(picture, quality=60)),
        ("as PNG", encoded(picture, "PNG")),
        ("as WebP", encoded(picture, "WEBP", quality=80)),
        ("resized", encoded(picture.resize((width * 2 // 3, height * 2 // 3)), quality=88)),
        ("brighter", encoded(ImageEnhance.Brightness(picture).enhance(1.15), quality=88)),
        ("watermarked", encoded(marked, quality=88)),
        ("cropped 3%", encoded(picture.crop((width * 3 // 100, height * 3 // 100, width, height)), quality=88)),
        ("turned, upright by EXIF", encoded(picture.transpose(Image.Transpose.ROTATE_90), quality=92, exif=turned)),
    ]
    yield from dice.sample(possible, dice.choice([0, 0, 1, 1, 2]))


def rows() -> list[dict[str, object]]:
    dice = random.Random(20240229)
    made: list[dict[str, object]] = []
    for name, photograph in photographs():
        for number in range(CROPS):
            side = dice.uniform(0.35, 0.8)
            width, height = (int(one * side) for one in photograph.size)
            left, top = (
                dice.randint(0, whole - part) for whole, part in zip(photograph.size, (width, height), strict=True)
            )
            picture = photograph.crop((left, top, left + width, top + height))
            original = encoded(picture, quality=92)
            what = f"{name} {number}"
            made.append({"caption": what, "edit": "original", "image": {"bytes": original, "path": f"{what}.jpg"}})
            for edit, data in edits(picture, original, dice):
                made.append({"caption": what, "edit": edit, "image": {"bytes": data, "path": f"{what}, {edit}"}})
    # Copies lie anywhere in a real data set, not beside their originals; an original still comes first here.
    late = [row for row in made if row["edit"] != "original"]
    dice.shuffle(late)
    made = [row for row in made if row["edit"] == "original"] + late
    made.insert(
        40, {"caption": "broken", "edit": "cut off", "image": {"bytes": made[0]["image"]["bytes"][:900], "path": None}}
    )
    made.insert(80, {"caption": "no picture", "edit": "missing", "image": None})
    return [{"id": number, **row} for number, row in enumerate(made)]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made = rows()
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("caption", pa.string()),
            ("edit", pa.string()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ]
    )
    for number, start in enumerate(range(0, len(made), ROWS_A_FILE)):
        table = pa.Table.from_pylist(made[start : start + ROWS_A_FILE], schema)
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=50)
    print(f"{len(made)} rows in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
