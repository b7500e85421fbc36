"""Draws docs/how.svg: one picture and a copy of it on their way through the job. ``python demo/draw_how.py``"""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from scipy.fft import dct

from imgdedup_spark import hash_bytes

OUT = Path(__file__).parents[1] / "docs" / "how.svg"
SIDE, GRID, CELL = 112, 8, 14
#: Left edges of the columns.
COLUMNS = (24, 176, 328, 480)
BANDS = ("#2a6f97", "#d98324", "#4f772d", "#7b4fa3", "#b23a48", "#1b998b", "#8d6a4a", "#52616b", "#c2588d")
HEADS = ("read: the file", "grey, 32 × 32", "8 × 8 frequencies", "hash: 64 bits")


def encoded(picture: Image.Image, format_: str, **how: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format_, **how)
    return stream.getvalue()


def shown(picture: Image.Image, x: int, y: int, height: int = SIDE) -> str:
    small = picture.resize(
        (SIDE * 2, height * 2), Image.Resampling.NEAREST if picture.width < 64 else Image.Resampling.BOX
    )
    uri = "data:image/png;base64," + base64.b64encode(encoded(small.quantize(64), "PNG")).decode()
    return f'<image x="{x}" y="{y}" width="{SIDE}" height="{height}" href="{uri}"/>'


def text(x: int, y: int, words: str, **style: str) -> str:
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x}" y="{y}"{more}>{escape(words)}</text>'


def row(name: str, data: bytes, y: int, other: np.ndarray | None) -> tuple[list[str], np.ndarray]:
    """A picture's way, and its bits; those that differ from another's are marked."""
    picture = Image.open(io.BytesIO(data))
    grey = picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = dct(dct(np.asarray(grey, float), axis=0), axis=1)[:GRID, :GRID]
    strength = np.log1p(np.abs(low))
    frequencies = Image.fromarray((255 * strength / strength.max()).astype(np.uint8))
    hexed = hash_bytes(data)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(hexed), np.uint8)).reshape(GRID, GRID)
    file = picture.convert("RGB")
    height = SIDE * file.height // file.width
    made = [shown(file, COLUMNS[0], y + (SIDE - height) // 2, height), shown(grey, COLUMNS[1], y)]
    made += [shown(frequencies, COLUMNS[2], y)]
    for place, bit in np.ndenumerate(bits):
        x, top = COLUMNS[3] + CELL * place[1], y + CELL * place[0]
        color = BANDS[(GRID * place[0] + place[1]) % len(BANDS)]
        size = f'width="{CELL - 1}" height="{CELL - 1}"'
        made.append(f'<rect x="{x}" y="{top}" {size} fill="{color}" opacity="{1 if bit else 0.25}"/>')
        if other is not None and other[place] != bit:
            center = f'cx="{x + CELL / 2 - 0.5}" cy="{top + CELL / 2 - 0.5}"'
            made.append(f'<circle {center} r="{CELL / 2}" fill="none" stroke="#000" stroke-width="2"/>')
    said = f"{name}, {picture.width} × {picture.height}, {len(data) / 1000:,.0f} kB"
    made += [text(COLUMNS[0], y + SIDE + 16, said), text(COLUMNS[3], y + SIDE + 16, hexed, font_family="monospace")]
    return made, bits


def main() -> None:
    whole = Image.fromarray(skimage.data.coffee())
    copy = whole.crop((9, 6, 597, 396)).resize((300, 199), Image.Resampling.LANCZOS)
    first, bits = row("JPEG", encoded(whole, "JPEG", quality=90), 44, None)
    second, others = row("WebP", encoded(copy, "WEBP", quality=40), 204, bits)
    distance = int((bits != others).sum())
    lines = [text(x, 28, head, font_weight="bold") for x, head in zip(COLUMNS, HEADS, strict=True)]
    told = (
        f"match: {distance} bits differ (circles), no more than T = 8. Each colour is one of T + 1 = 9 bands: with",
        f"{distance} bits differing at least {9 - distance} bands agree, so that only hashes that share bands are "
        "compared, and",
        "no pair is missed. keep: the one that --keep prefers stays; the other is a line in duplicates/. write: the",
        "file is read once more and copied to kept/. From hashing on a row is some 60 bytes: no picture in a shuffle.",
    )
    lines += [text(COLUMNS[0], 364 + 18 * number, line) for number, line in enumerate(told)]
    body = "\n".join([*first, *second, *lines])
    OUT.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 436" font-family="sans-serif" font-size="11.5">\n'
        f'<rect width="660" height="436" fill="#fff"/>\n{body}\n</svg>\n',
        "utf-8",
    )


if __name__ == "__main__":
    main()
