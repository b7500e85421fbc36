"""Near-duplicates through the whole job and the Python API, against a first-come loop in plain Python."""

from __future__ import annotations

import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imgdedup_spark import DedupConfig, deduplicate

pytestmark = pytest.mark.spark


def first_come(rows, matches):
    """rows: (id, key) in keep order; → {dropped id: (kept id, distance)}"""
    kept, dropped = [], {}
    for name, key in rows:
        found = next(((other, matches(key, known)) for other, known in kept if matches(key, known) is not None), None)
        if found is None:
            kept.append((name, key))
        else:
            dropped[name] = found
    return dropped


def within(threshold):
    def matches(one, other):
        distance = (one ^ other).bit_count()
        return distance if distance <= threshold else None

    return matches


def clustered(count, bits, seed, spread=6):
    """Hashes in chains and clumps, with copies."""
    dice = random.Random(seed)
    made = [dice.getrandbits(bits)]
    while len(made) < count:
        value = dice.choice(made) if dice.random() < 0.8 else dice.getrandbits(bits)
        for _ in range(dice.randint(0, spread)):
            value ^= 1 << dice.randrange(bits)
        made.append(value)
    return made


def as_hex(values, bits):
    return [f"{value:0{bits // 4}x}" for value in values]


@pytest.mark.parametrize(("bits", "threshold"), [(64, 3), (64, 8), (64, 32), (256, 31), (44, 5)])
def test_ready_hashes_against_the_plain_loop(run, tmp_path, bits, threshold):
    values = clustered(400, bits, seed=bits + threshold)
    pq.write_table(pa.table({"id": range(400), "h": as_hex(values, bits)}), tmp_path / "in.parquet", row_group_size=90)
    result = run(tmp_path / "in.parquet", "--hash-col", "h", "--id-col", "id", "--threshold", threshold)
    expected = first_come(list(enumerate(values)), within(threshold))
    found = {row["id"]: (row["kept_id"], row["distance"]) for row in result.table("duplicates")}
    assert found == expected
    assert result.ids() == [number for number in range(400) if number not in expected]
    summary = result.summary
    assert sum(summary["distances"].values()) == summary["rows_dropped"] == len(expected)
    assert {"path", "k", "comparisons"} <= summary["plan"].keys()
    reasons = {row["reason"] for row in result.table("duplicates") if row["distance"] > 0}
    assert reasons == {"near_hash"}


def test_keep_decides_who_comes_first(run, tmp_path):
    values = clustered(200, 64, seed=5)
    dice = random.Random(6)
    score = [dice.choice([None, 1, 2, 3]) for _ in values]
    pq.write_table(pa.table({"id": range(200), "h": as_hex(values, 64), "score": score}), tmp_path / "in.parquet")
    options = ("--hash-col", "h", "--id-col", "id", "--threshold", 6, "--keep", "score desc, first")
    order = sorted(range(200), key=lambda row: (score[row] is None, -(score[row] or 0), row))
    expected = first_come([(row, values[row]) for row in order], within(6))
    assert run(tmp_path / "in.parquet", *options).dropped == {name: kept for name, (kept, _) in expected.items()}


def test_texts_must_be_equal(run, tmp_path):
    values = clustered(200, 64, seed=7, spread=3)
    texts = [random.Random(number).choice(["a", "b", None]) for number in range(200)]
    pq.write_table(pa.table({"id": range(200), "h": as_hex(values, 64), "text": texts}), tmp_path / "in.parquet")
    options = ("--hash-col", "h", "--id-col", "id", "--threshold", 5, "--text-col", "text")

    def matches(one, other):
        return within(5)(one[0], other[0]) if one[1] == other[1] else None

    expected = first_come(list(enumerate(zip(values, texts, strict=True))), matches)
    found = {
        row["id"]: (row["kept_id"], row["distance"])
        for row in run(tmp_path / "in.parquet", *options).table("duplicates")
    }
    assert found == expected


def jpeg(picture, quality=90):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def edited(photos):
    """Two photographs, an edit of each far and near, as files."""
    from PIL import ImageEnhance

    def opened(letter):
        return Image.open(io.BytesIO(photos[letter]))

    return {
        "A": photos["A"],
        "a": jpeg(ImageEnhance.Brightness(opened("A")).enhance(1.2), 60),
        "B": photos["B"],
        "b": jpeg(opened("B").resize((150, 100)), 70),
        "C": photos["C"],
    }


def test_lists_match_place_by_place(run, edited, tmp_path):
    lists = [[edited[letter] for letter in row] for row in ("AB", "ab", "BA", "ba", "A", "a", "ABC", "aC", "AC", "")]
    pq.write_table(pa.table({"id": range(10), "images": lists}), tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", "--threshold", 10, "--id-col", "id")
    assert result.dropped == {1: 0, 3: 2, 5: 4, 8: 7}


def test_verify_takes_back_what_the_short_hash_confuses(run, photos, tmp_path):
    whole = Image.open(io.BytesIO(photos["A"]))
    width, height = whole.size
    crop = whole.crop((6, 6, width, height)).resize((width, height))
    pq.write_table(
        pa.table({"id": [0, 1, 2], "image": [photos["A"], jpeg(crop), jpeg(whole, 70)]}), tmp_path / "in.parquet"
    )
    near = ("--threshold", 14, "--id-col", "id")
    loose = run(tmp_path / "in.parquet", *near)
    assert loose.dropped == {1: 0, 2: 0}
    strict = run(tmp_path / "in.parquet", *near, "--verify", "phash:16:20")
    assert strict.dropped == {2: 0}
    assert run(tmp_path / "in.parquet", *near, "--verify", "phash:16:200", "--verify", "dhash:8:64").dropped == {
        1: 0,
        2: 0,
    }


def test_pairs_carry_the_distance(run, tmp_path):
    values = [0, 0b111, 1 << 40, (1 << 40) | 1]
    pq.write_table(pa.table({"id": range(4), "h": as_hex(values, 64)}), tmp_path / "in.parquet")
    pairs = run(tmp_path / "in.parquet", "--hash-col", "h", "--id-col", "id", "--threshold", 4, "--show-num", 9).lines(
        "pairs"
    )
    assert [(one["kept"]["id"], one["dropped"]["id"], one["distance"]) for one in pairs] == [(0, 1, 3.0)]


def test_from_python(spark):
    values = clustered(150, 64, seed=11)
    frame = spark.createDataFrame(list(zip(range(150), as_hex(values, 64), strict=True)), "key long, h string")
    result = deduplicate(frame.repartition(5), DedupConfig(hash_col="h", threshold=7), id_col="key")
    expected = first_come(list(enumerate(values)), within(7))
    assert {row.id: (row.kept_id, int(row.distance)) for row in result.duplicates.collect()} == expected
    assert result.summary()["rows_kept"] == 150 - len(expected)
    result.close()


def test_hashes_of_several_lengths_have_no_distance(spark, capsys, tmp_path):
    from imgdedup_spark.cli import main

    pq.write_table(pa.table({"h": ["00ff", "00ff00ff"]}), tmp_path / "in.parquet")
    arguments = ["--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out"), "--hash-col", "h"]
    assert main([*arguments, "--threshold", "2"]) == 2
    assert "16 to 32 bits" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_distinct_hashes_far_apart_are_all_kept(run, tmp_path):
    values = np.random.default_rng(3).integers(0, 1 << 63, 2000).tolist()
    pq.write_table(pa.table({"id": range(2000), "h": as_hex(values, 64)}), tmp_path / "in.parquet")
    result = run(tmp_path / "in.parquet", "--hash-col", "h", "--id-col", "id", "--threshold", 4)
    assert result.summary["rows_kept"] == 2000
