"""What is found of flat pictures: by kind and edit, in Markdown, and how many different ones match.

    python benchmarks/flat.py --strength 1

Solids, gradients, objects on white, and what differs in words alone: pages, forms, invoices with a logo, banners,
slides, badges.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from photographs import encoded, view
from PIL import Image, ImageDraw
from presets import EVERYDAY, files_of, is_same

from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher

WIDTH, HEIGHT = 469, 393
_PAPER, _INK = (250, 250, 248), (20, 20, 20)


def _solid(random: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT), tuple(map(int, random.integers(0, 256, 3))))


def _gradient(random: np.random.Generator) -> Image.Image:
    """Of two colors, along a line or around a point."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH] / np.array([HEIGHT, WIDTH])[:, None, None] - random.uniform(0.2, 0.8)
    turn = random.uniform(0, 2 * np.pi)
    place = np.hypot(across, down) if random.random() < 0.3 else across * np.cos(turn) + down * np.sin(turn)
    place = (place - place.min()) / np.ptp(place)
    one, other = random.integers(0, 256, (2, 3))
    return Image.fromarray((one + (other - one) * place[..., None]).astype(np.uint8))


def _object(random: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    size = random.uniform(0.15, 0.3)
    width, height = round(WIDTH * size), round(HEIGHT * size)
    left, top = random.integers(0, WIDTH - width), random.integers(0, HEIGHT - height)
    page.paste(view(5, int(random.integers(1 << 30)), width, height), (int(left), int(top)))
    return page


def _page(random: np.random.Generator) -> Image.Image:
    """A few words and lines, some of them faint."""
    page = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(page)
    for _ in range(random.integers(1, 4)):
        left, top = int(random.integers(10, WIDTH // 2)), int(random.integers(10, HEIGHT - 30))
        ink = (int(random.choice([20, 120, 150])),) * 3
        if random.random() < 0.3:
            draw.line((left, top, left + int(random.integers(40, 200)), top), fill=ink)
        else:
            word = "".join(random.choice(list("abcdefghij klmno"), random.integers(3, 25)))
            draw.text((left, top), word, fill=ink, font_size=int(random.integers(9, 16)))
    return page


def _form(random: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((40, 30), "Registration form", fill="black", font_size=18)
    for line, label in enumerate(("Name:", "Street:", "City:", "Signed:")):
        draw.text((40, 70 + 40 * line), label, fill=_INK, font_size=12)
        word = "".join(random.choice(list("abcdefghijklmno"), random.integers(3, 9)))
        draw.text((100, 70 + 40 * line), word, fill=(20, 20, 90), font_size=12)
    return page


def _invoice(random: np.random.Generator) -> Image.Image:
    """With a logo."""
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((20, 20, 90, 80), fill=(30, 60, 160))
    draw.ellipse((35, 30, 75, 70), fill=(240, 200, 40))
    for line in range(5):
        draw.text((40, 120 + 35 * line), f"Item {random.integers(1, 99)}: {random.integers(1, 9999)} EUR", fill=_INK,
                  font_size=int(random.choice([11, 16])))  # fmt: skip
    return page


def _banner(random: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, WIDTH, 70), fill=(20, 60, 140))
    draw.text((40, 180), str(random.choice(["yes", "no", "maybe", "never"])) + str(random.integers(0, 9)), fill="black",
              font_size=int(random.choice([10, 16, 24])))  # fmt: skip
    return page


def _slide(random: np.random.Generator) -> Image.Image:
    """A word on a graded ground."""
    ramp = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).point(lambda level: 60 + level // 2)
    page = Image.merge("RGB", (ramp.point(lambda level: level // 2), ramp, ramp))
    draw = ImageDraw.Draw(page)
    draw.text((60, 150), f"Chapter {random.integers(1, 99)}", fill="white", font_size=int(random.choice([14, 24, 40])))
    return page


def _badge(random: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    draw.ellipse((180, 130, 290, 240), fill=(180, 30, 40))
    draw.text((220, 175), str(random.integers(1, 99)), fill="white", font_size=int(random.choice([12, 18, 24])))
    return page


KINDS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "solid": _solid,
    "gradient": _gradient,
    "object on white": _object,
    "page": _page,
    "form": _form,
    "invoice": _invoice,
    "banner": _banner,
    "slide": _slide,
    "badge": _badge,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--strength", type=int, default=1, choices=(0, 1, 2))
    parser.add_argument("--each", type=int, default=30, help="pictures of each kind")
    options = parser.parse_args()
    hasher, random = Hasher([HashSpec()]), np.random.default_rng(1)
    keys: list[tuple[str, str]] = []
    made: set[bytes] = set()
    found: dict[str, dict[str, list[bool]]] = {}
    for kind, make in KINDS.items():
        count = 0
        while count < options.each:
            picture = make(random)
            edits = files_of(picture, options.strength)
            some = ("JPEG of 50", "JPEG of 20", "WebP", "thumbnail", *EVERYDAY)
            key, *others = hasher.hash_batch([encoded(picture), *(edits[name] for name in some)]).facts.flat
            if key is None or encoded(picture) in made:  # not flat, or the same again
                continue
            made.add(encoded(picture))
            count += 1
            keys.append((kind, key))
            for name, other in zip(some, others, strict=True):
                found.setdefault(name, {}).setdefault(kind, []).append(is_same(key, other))
    print("| of 100 | " + " | ".join(KINDS) + " |\n|" + "---|" * (1 + len(KINDS)))
    for name, by_kind in found.items():
        print(f"| {name} | " + " | ".join(f"{100 * np.mean(by_kind[kind]):.0f}" for kind in KINDS) + " |")
    pairs = [(one, other) for place, one in enumerate(keys) for other in keys[:place]]
    same = [f"{one[0]} and {other[0]}" for one, other in pairs if is_same(one[1], other[1])]
    print(f"\n{len(same)} of {len(pairs):,} pairs of different pictures match: {', '.join(same)}")


if __name__ == "__main__":
    main()
