"""What presets find: recall by edit and strength, matches between different photographs, and the cost of hashing.

    python benchmarks/presets.py --originals 150 --strength 1
    python benchmarks/presets.py --photographs FOLDER       # a folder of different pictures, each an original

Two files match by the very rule of the job: a view of one is near the whole or a crop of the other. Prints tables in
Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from photographs import encoded, photographs_in, view
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.kernels.hamming.pack import codes_of
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.hashes.sketches import DIGEST_DIGITS, earliest_same, sketches
from imgdedup_spark.kernels.hashes.view_codes import entries, taken_apart
from imgdedup_spark.kernels.hashes.view_names import CROPS, VIEWS

#: Named after what they show; the first is what a run finds that says nothing.
CONFIGS = {
    "phash 8, T = 0": DedupConfig(),
    "phash 8, T = 8": DedupConfig(threshold=8),
    "strict": DedupConfig(preset="strict"),
    "balanced, wholes alone": DedupConfig(preset="balanced", views="whole"),
    "balanced": DedupConfig(preset="balanced"),
    "thorough": DedupConfig(preset="thorough"),
}
Edit = Callable[[Image.Image, int], Image.Image]


def _noisy(picture: Image.Image, strength: int) -> Image.Image:
    noise = np.random.default_rng(strength).normal(0, (5, 10, 18)[strength], (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def _cropped(picture: Image.Image, part: float) -> Image.Image:
    across, down = round(picture.width * part / 2), round(picture.height * part / 2)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def _hue(picture: Image.Image, strength: int) -> Image.Image:
    hue, *others = picture.convert("HSV").split()
    turned = hue.point([(level + (8, 20, 45)[strength]) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, *others)).convert("RGB")


def _marked(picture: Image.Image, strength: int) -> Image.Image:
    ground = picture.copy()
    size = picture.height // (16, 10, 6)[strength]
    ImageDraw.Draw(ground).text((size, picture.height // 2), "watermark", fill="white", font_size=size)
    return Image.blend(picture, ground, 0.6)


def _sticker(picture: Image.Image, strength: int) -> Image.Image:
    found = picture.copy()
    part = (0.2, 0.316, 0.4)[strength]  # of each side: 4, 10 and 16% of the picture
    width, height = round(part * picture.width), round(part * picture.height)
    found.paste((230, 60, 40), (picture.width - width - 9, 9, picture.width - 9, 9 + height))
    return found


def _on(picture: Image.Image, size: tuple[int, int], place: tuple[int, int], color: str) -> Image.Image:
    found = Image.new("RGB", size, color)
    found.paste(picture, place)
    return found


def _caption(picture: Image.Image, strength: int) -> Image.Image:
    bar = round(picture.height * (0.1, 0.16, 0.25)[strength])
    found = _on(picture, (picture.width, picture.height + bar), (0, bar), "white")
    ImageDraw.Draw(found).text((12, bar // 4), "when it works at once", fill="black", font_size=bar // 2)
    return found


def _framed(picture: Image.Image, strength: int) -> Image.Image:
    side = round(min(picture.size) * (0.03, 0.06, 0.12)[strength])
    return _on(picture, (picture.width + 2 * side, picture.height + 2 * side), (side, side), "black")


def _letterbox(picture: Image.Image, strength: int) -> Image.Image:
    bar = round(picture.height * (0.06, 0.12, 0.25)[strength])
    return _on(picture, (picture.width, picture.height + 2 * bar), (0, bar), "black")


def _screenshot(picture: Image.Image, strength: int) -> Image.Image:
    """A picture in a page: a bar with words above, white around it."""
    above, side = round(picture.height * (0.12, 0.2, 0.3)[strength]), (10, 20, 40)[strength]
    size = (picture.width + 2 * side, picture.height + 2 * above)
    found = _on(picture, size, (side, above), "white")
    ImageDraw.Draw(found).text((side, above // 3), "some page of pictures", fill="black", font_size=above // 4)
    return found


def _turned(picture: Image.Image, strength: int) -> Image.Image:
    """By some degrees, its corners filled with what is near."""
    wide = ImageOps.expand(picture, 40)
    wide.paste(picture.resize(wide.size), (0, 0))
    wide.paste(picture, (40, 40))
    turned = wide.rotate((2, 4, 7)[strength], Image.Resampling.BICUBIC)
    return turned.crop((40, 40, 40 + picture.width, 40 + picture.height))


EVERYDAY: dict[str, Edit] = {
    "copy": lambda picture, strength: picture,
    "half size": lambda picture, strength: picture.reduce((2, 3, 4)[strength]),
    "blur": lambda picture, strength: picture.filter(ImageFilter.GaussianBlur((1, 2, 4)[strength])),
    "brighter": lambda picture, strength: ImageEnhance.Brightness(picture).enhance((1.1, 1.25, 1.5)[strength]),
    "contrast": lambda picture, strength: ImageEnhance.Contrast(picture).enhance((1.15, 1.3, 1.6)[strength]),
    "gamma": lambda picture, strength: picture.point(
        [round(255 * (level / 255) ** (0.85, 0.7, 0.5)[strength]) for level in range(256)] * 3
    ),
    "grey": lambda picture, strength: picture.convert("L").convert("RGB"),
    "hue": _hue,
    "sharpened": lambda picture, strength: ImageEnhance.Sharpness(picture).enhance((2, 3, 6)[strength]),
    "noise": _noisy,
    "watermark": _marked,
    "crop of 3%": lambda picture, strength: _cropped(picture, (0.015, 0.03, 0.05)[strength]),
    "sticker": _sticker,
}
FURTHER: dict[str, Edit] = {
    "crop of 10%": lambda picture, strength: _cropped(picture, (0.07, 0.1, 0.15)[strength]),
    "caption bar": _caption,
    "frame": _framed,
    "letterbox": _letterbox,
    "screenshot": _screenshot,
    "turn by 4°": _turned,
    "flip": lambda picture, strength: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turn by 90°": lambda picture, strength: picture.transpose(Image.Transpose.ROTATE_90),
}


def files_of(picture: Image.Image, strength: int) -> dict[str, bytes]:
    """Every edit's file; all but those that are about the file are JPEG of quality 75."""
    found = {
        "JPEG of 50": encoded(picture, quality=(70, 50, 30)[strength]),
        "JPEG of 20": encoded(picture, quality=(30, 20, 10)[strength]),
        "WebP": encoded(picture, "WEBP", (85, 70, 40)[strength]),
        "thumbnail": encoded(ImageOps.contain(picture, ((128, 128), (64, 64), (40, 40))[strength])),
    }
    return found | {name: encoded(edit(picture, strength), quality=75) for name, edit in (EVERYDAY | FURTHER).items()}


def views_of(config: DedupConfig, files: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
    """(files, views) bool, which there are; (files, views, code bytes); what stands for the hashes of flat files."""
    found = Hasher(config.specs, config.decode, views=config.view_names).hash_batch(files)
    assert not found.errors
    digits = [spec.digits or 0 for spec in config.specs]
    wholes = codes_of([pa.array(column) for column in found.hashes], digits, 1)
    codes = np.zeros((len(files), len(VIEWS), wholes.shape[1]), np.uint8)
    there = np.zeros(codes.shape[:2], bool)
    codes[:, 0], there[:, 0] = wholes, True
    if config.view_names:
        texts = zip(found.views, zip(*found.hashes, strict=True), strict=True)
        rows, numbers, others = taken_apart(pa.array([entries([one], digits) for one in texts]), wholes.shape[1])
        codes[rows, numbers], there[rows, numbers] = others, True
    # What is flat matches nothing but its like.
    there &= np.array([flat is None for flat in found.facts.flat])[:, None]
    return there, codes, found.facts.flat


def is_same(one: str | None, other: str | None) -> bool:
    """Whether flat pictures match, by what stands for their hashes; None is of no flat picture."""
    if one is None or other is None:
        return False
    if one[:DIGEST_DIGITS] == other[:DIGEST_DIGITS] or min(len(one), len(other)) == DIGEST_DIGITS:
        return one[:DIGEST_DIGITS] == other[:DIGEST_DIGITS]
    return bool(earliest_same(sketches([one, other]), 1)[1] == 0)


def matches(
    config: DedupConfig, there: np.ndarray, codes: np.ndarray, flat: Sequence[str | None], first: Sequence[int]
) -> np.ndarray:
    """(first, files) bool: whether each of some files matches each file, whichever comes first."""
    are_flat = [place for place, one in enumerate(flat) if one is not None]
    found = np.zeros((len(first), len(codes)), bool)
    for row, one in enumerate(first):
        if flat[one] is not None:
            found[row, are_flat] = [is_same(flat[one], flat[other]) for other in are_flat]
    limits = (config.threshold, *(one.threshold for one in config.verifies))
    sizes = [-(-(spec.bits or 0) // 8) for spec in config.specs]
    used = [view for view in range(len(VIEWS)) if there[:, view].any()]
    for mine in used:
        for theirs in used:
            if mine > len(CROPS) and theirs > len(CROPS):
                continue
            near = there[first, mine][:, None] & there[None, :, theirs]
            start = 0
            for size, limit in zip(sizes, limits, strict=True):
                some = np.ascontiguousarray(codes[:, :, start : start + size]).view(np.uint64)
                start += size
                apart = np.zeros(near.shape, np.uint16)
                for word in range(some.shape[2]):
                    apart += np.bitwise_count(some[first, mine, word][:, None] ^ some[None, :, theirs, word])
                near &= apart <= limit
            found |= near
    return found


def costs(files: Sequence[bytes], rounds: int = 3) -> dict[str, float]:
    """Time to hash, as a multiple of the first configuration's: the least of some rounds, taken turn by turn."""
    least = dict.fromkeys(CONFIGS, np.inf)
    for _ in range(rounds):
        for name, config in CONFIGS.items():
            hasher = Hasher(config.specs, config.decode, views=config.view_names)
            started = time.process_time()
            hasher.hash_batch(files)
            least[name] = min(least[name], time.process_time() - started)
    base = least[next(iter(CONFIGS))]
    return {name: seconds / base for name, seconds in least.items()}


def of_folder(folder: Path, pixels: int, strength: int) -> tuple[list[bytes], list[dict[str, bytes]]]:
    """The pictures of a folder, scaled to about so many pixels, and their edits."""
    originals, edited = [], []
    for file in sorted(folder.iterdir()):
        picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        scale = (pixels / (picture.width * picture.height)) ** 0.5
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        originals.append(encoded(picture))
        edited.append(files_of(picture, strength))
    return originals, edited


def made(count: int, width: int, height: int, strength: int) -> tuple[list[bytes], list[dict[str, bytes]], np.ndarray]:
    """Windows of scikit-image's photographs, their edits, and (n, n) bool: whether they show different photographs."""
    originals, edited, shown = [], [], []
    for number in itertools.count():
        picture = view(2, number, width, height)
        data = encoded(picture)
        # Textures that are too flat for a hash match by their pixels alone, whatever the preset.
        if Hasher([HashSpec()]).hash_batch([data]).facts.flat == [None]:
            originals.append(data)
            shown.append(photographs_in(2, number))
            edited.append(files_of(picture, strength))
        if len(originals) == count:
            break
    # Windows of one photograph may really be alike.
    return originals, edited, np.array([[not one & other for other in shown] for one in shown])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=150)
    parser.add_argument("--strength", type=int, default=1, choices=(0, 1, 2))
    parser.add_argument("--size", default="469x393", help="width x height of the originals, pixels")
    parser.add_argument(
        "--photographs", type=Path, help="a folder of originals; --size is then about how large they are"
    )
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    if options.photographs:
        originals, edited = of_folder(options.photographs, width * height, options.strength)
        different = ~np.eye(len(originals), dtype=bool)
    else:
        originals, edited, different = made(options.originals, width, height, options.strength)
    names = list(edited[0])
    files = [*originals, *(one[name] for one in edited for name in names)]
    owner = np.concatenate([np.arange(len(originals)), np.repeat(np.arange(len(originals)), len(names))])
    found, false = {}, {}
    for name, config in CONFIGS.items():
        seen = views_of(config, files)
        false[name] = 0
        for start in range(0, len(files), 256):
            some = range(start, min(start + 256, len(files)))
            later = np.arange(len(files))[None] > np.array(some)[:, None]
            near = matches(config, *seen, some)
            false[name] += int((near & later & different[owner[some]][:, owner]).sum())
            if start < len(originals):
                mine = near[: max(0, len(originals) - start)]
                found.setdefault(name, []).append(mine)
    pairs = int(different.sum()) // 2 * (1 + len(names)) ** 2
    cost = costs(originals[:100])
    print(f"{len(originals)} originals, {len(names)} edits of each at strength {options.strength}, ", end="")
    print(f"{pairs:,} pairs of files that show different photographs\n")
    print("| | everyday % | all % | false pairs | cost |\n|---|---|---|---|---|")
    everyday = np.array([one not in FURTHER for one in names])
    recall = {}
    for name in CONFIGS:
        near = np.concatenate(found[name])
        own = np.stack([near[row][owner == row][1:] for row in range(len(originals))])
        recall[name] = 100 * own.mean(axis=0)
        print(f"| {name} | {100 * own[:, everyday].mean():.1f} | {100 * own.mean():.1f} ", end="")
        print(f"| {false[name]} | {cost[name]:.2f} |")
    print("\n| edit | " + " | ".join(CONFIGS) + " |\n|" + "---|" * (1 + len(CONFIGS)))
    for place, edit in enumerate(names):
        print(f"| {edit} | " + " | ".join(f"{recall[name][place]:.0f}" for name in CONFIGS) + " |")


if __name__ == "__main__":
    main()
