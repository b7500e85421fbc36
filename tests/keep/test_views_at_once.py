"""Views from prints to decisions, in the driver: as the slow twin has it, and of pictures that were really edited."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import skimage.data
from hash_pictures import encoded
from PIL import Image

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.hash.worker import HashPictures
from imgdedup_spark.keep.at_once import Earlier, decide_at_once
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.kernels.hashes.hasher import Hasher
from imgdedup_spark.kernels.hashes.view_codes import entries
from imgdedup_spark.kernels.hashes.view_names import CROPS, VIEWS
from imgdedup_spark.kernels.pictures.paths import PathRules
from imgdedup_spark.kernels.pictures.reader import PictureReader
from imgdedup_spark.write.small import duplicates

ASKED = ("whole", *CROPS)
SPECS = (16, 64)  # bits
CONFIG = DedupConfig(method="phash", hash_size=4, threshold=2, verify="dhash:8:6", views="turned", text_col="t")


def near(rng, pool, bits):
    """One of a few values, or one some bits away, as hexadecimal."""
    value = pool[rng.integers(0, len(pool))]
    for _ in range(rng.integers(0, 3)):
        value ^= 1 << int(rng.integers(0, bits))
    return f"{value:0{bits // 4}x}"


def make_rows(seed, count=220):
    """Rows with wholes and views that are all near each other: some equal in the whole and not in views, of one picture
    or two, with texts, some flat, some broken."""
    rng = np.random.default_rng(seed)
    pools = [[int(rng.integers(0, 1 << min(bits, 62))) for _ in range(9)] for bits in SPECS]

    def texts():
        return tuple(near(rng, pool, bits) for pool, bits in zip(pools, SPECS, strict=True))

    rows = []
    for _ in range(count):
        parts = []
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            names = [name for name in VIEWS[1:] if rng.random() < 0.25]
            parts.append(({name: texts() for name in names}, texts()))
        flat = f"{len(parts)}{rng.integers(0, 2)}" if parts and rng.random() < 0.1 else None
        rows.append((parts, flat, [None, "aa" * 16][rng.integers(0, 2)], rng.random() < 0.05))
    return rows


def prints_of(rows):
    error = {"position": 0, "error": "corrupt", "message": "", "level": "error"}
    column = {
        "id": pa.array([f"r{number}" for number in range(len(rows))]),
        "order": pa.array(range(len(rows)), pa.int64()),
        "images": pa.array([len(parts) for parts, *_ in rows], pa.int32()),
        "flat": pa.array([flat for _, flat, *_ in rows], pa.string()),
        "texthash": pa.array([text for _, _, text, _ in rows], pa.string()),
        "errors": pa.array(
            [[error] if failed else [] for *_, failed in rows],
            pa.list_(pa.struct(dict.fromkeys(("error", "message", "level"), pa.string()) | {"position": pa.int32()})),
        ),
        "views": pa.array(
            [entries([] if flat else parts, [bits // 4 for bits in SPECS]) for parts, flat, *_ in rows],
            pa.list_(pa.binary()),
        ),
    }
    for spec, name in enumerate(("imagehash", "verify0")):
        column[name] = pa.array(["".join(whole[spec] for _, whole in parts) for parts, *_ in rows], pa.string())
    return pa.table(column)


def seen(parts):
    """The views of a row (hashes of each picture, one a spec) by name; a picture without one shows its whole."""
    found = {"whole": [whole for _, whole in parts]}
    for name in VIEWS[1:]:
        if any(name in views for views, _ in parts):
            found[name] = [views.get(name, whole) for views, whole in parts]
    return found


def away(mine, theirs):
    """The distance of two views; None if they do not match."""
    most = 0
    for ones, others in zip(mine, theirs, strict=True):
        apart = [(int(a, 16) ^ int(b, 16)).bit_count() for a, b in zip(ones, others, strict=True)]
        if apart[0] > 2 or apart[1] > 6:
            return None
        most = max(most, apart[0])
    return most


def match(row, other):
    """(distance, own view, other's view) of the nearest views that match; None without any."""
    (parts, flat, text, _), (parts_there, flat_there, text_there, _) = row, other
    if text != text_there or len(parts) != len(parts_there) or (flat is None) != (flat_there is None):
        return None
    if flat is not None or not parts:
        return (0, 0, 0) if flat == flat_there else None
    here, there = seen(parts), seen(parts_there)
    pairs = [
        (distance, VIEWS.index(mine), VIEWS.index(theirs))
        for mine in here
        for theirs in there
        if theirs in ASKED and (distance := away(here[mine], there[theirs])) is not None
    ]
    return min(pairs, default=None)


def slow(rows):
    """(id, kept id, distance, same hash, view, kept view) of every row that goes."""
    kept, found = [], []
    for number, (parts, flat, text, failed) in enumerate(rows):
        if failed or not (parts or text):
            continue
        for other in kept:
            matched = match(rows[number], rows[other])
            if matched is not None:
                distance, mine, theirs = matched
                same = flat is not None or seen(parts)["whole"] == seen(rows[other][0])["whole"]
                found.append((f"r{number}", f"r{other}", distance, same, VIEWS[mine], VIEWS[theirs]))
                break
        else:
            kept.append(number)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_decisions_are_the_slow_twins(seed):
    rows = make_rows(seed)
    found = decide_at_once(prints_of(rows), Hashes(CONFIG), None, Exclusions())
    assert found is not None
    table = duplicates(found)
    truth = slow(rows)
    assert table.column("reason").to_pylist() == ["same_hash" if one[3] else "near_hash" for one in truth]
    columns = ("id", "kept_id", "distance", "view", "kept_view")
    assert [tuple(row[name] for name in columns) for row in table.to_pylist()] == [
        (*one[:3], *one[4:]) for one in truth
    ]
    assert {one[4] for one in truth} > {"whole", "trimmed", "flip"} and len(truth) > 50


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_another_set_are_found_one_by_one(seed):
    """Without a comparison among themselves: every row with a partner there, an equal one if there is any."""
    rows, others = (every := make_rows(seed, 240))[:120], every[120:]
    there = [other for other in others if not other[3]]
    table = prints_of(there)
    earlier = Earlier(table.append_column("rank", table.column("order")), len(table))
    found = decide_at_once(prints_of(rows), Hashes(CONFIG), earlier, Exclusions(), among=False)
    assert found is not None
    truth = {}
    for number, row in enumerate(rows):
        pairs = {rank: pair for rank, other in enumerate(there) if (pair := match(row, other)) is not None}
        if pairs and not row[3] and (row[0] or row[2]):
            equal = [rank for rank in pairs if keyed(row) == keyed(there[rank])]
            rank = min(equal or pairs)
            truth[number] = (rank, *((0, 0, 0) if equal else pairs[rank]))
    dropped = found.dropped.filter(pc.is_valid(found.dropped.column("reference"))).to_pylist()
    assert {
        row["order"]: (row["reference"], row["distance"], VIEWS.index(row["view"]), VIEWS.index(row["kept_view"]))
        for row in dropped
    } == truth
    assert {one[2] for one in truth.values()} > {0, 1} and len(truth) > 50


def keyed(row):
    parts, flat, text, _ = row
    return (flat, text) if flat is not None else (seen(parts) if parts else None, text)


def test_edited_pictures_are_found_by_their_views():
    config = DedupConfig(preset="thorough", frames="first")
    kind = Hashes(config)
    plain = Image.fromarray(skimage.data.astronaut()).resize((320, 240))
    other = Image.fromarray(skimage.data.coffee()).resize((300, 200))
    boxed = Image.new("RGB", (320, 320), "black")
    boxed.paste(plain, (0, 40))
    rows = [
        [encoded(plain, "PNG")],
        [encoded(boxed, "JPEG", quality=80)],
        [encoded(plain.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=80)],
        [encoded(boxed.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG", quality=80)],
        [encoded(plain.crop((16, 12, 304, 228)), "WEBP", quality=80)],
        [encoded(other, "PNG")],
        [encoded(Image.new("RGB", (90, 90), "white"), "PNG")],
        [b"no picture"],
        [encoded(plain, "PNG"), encoded(other, "PNG")],
        [encoded(plain, "PNG"), encoded(other, "JPEG", quality=80)],
    ]
    hasher = Hasher(config.specs, config.decode, views=config.view_names)
    digits = [one for one in kind.digits() if one is not None]
    worker = HashPictures(hasher, PictureReader(PathRules(("/",), False)), kind.columns, views=digits)
    batch = pa.RecordBatch.from_pydict({"image": pa.array(rows, pa.list_(pa.binary()))})
    table = pa.Table.from_batches([worker.hash(batch)])
    views = table.column("views").to_pylist()
    assert views[6] == views[7] == []
    assert all(len(one) == 1 + 16 + 32 for one in views[0]) and 7 <= len(views[0]) <= len(VIEWS) - 1
    assert {len(one) for one in views[8]} == {1 + 2 * (16 + 32)}
    for name, values in (("id", list("abcdefghij")), ("order", range(10)), ("texthash", pa.nulls(10, pa.string()))):
        table = table.append_column(name, pa.array(values))
    found = decide_at_once(table, kind, None, Exclusions())
    assert found is not None
    dropped = {row["id"]: (row["kept_id"], row["view"], row["kept_view"]) for row in duplicates(found).to_pylist()}
    # The mirrored letterbox is found by nothing: turns are of whole pictures.
    assert set(dropped) == {"b", "c", "e", "j"}
    assert dropped["b"] == ("a", "trimmed", "whole")
    assert dropped["c"] == ("a", "rotate_90", "whole")
    assert dropped["e"][0] == "a" and "center" in dropped["e"]
    assert dropped["j"][0] == "i"


def test_a_preset_needs_nothing_to_be_near():
    """Equal hashes of views match at threshold 0, too."""
    config = DedupConfig(invariant="flip", text_col="t")
    whole, mirrored = ("0123456789abcdef",), ("fedcba9876543210",)
    rows = [([({}, whole)], None, None, False), ([({"flip": whole}, mirrored)], None, None, False)]
    found = decide_at_once(prints_of_one(rows), Hashes(config), None, Exclusions())
    assert found is not None
    assert [(row["view"], row["reason"]) for row in duplicates(found).to_pylist()] == [("flip", "near_hash")]


def prints_of_one(rows):
    """As ``prints_of``, of one hash of 64 bits."""
    both = prints_of([([({}, (whole[0], ""))], *rest) for [(_, whole)], *rest in rows]).drop_columns("verify0")
    views = pa.array([entries(parts, [16]) for parts, *_ in rows], pa.list_(pa.binary()))
    return both.set_column(both.column_names.index("views"), "views", views)
