"""Pairs that are never matched (``--never``): in the driver, in Spark, with an index, in stages; against a loop."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgdedup_spark.errors import UserError
from imgdedup_spark.hash import small

pytestmark = pytest.mark.spark

READY = ("--hash-col", "h", "--id-col", "id")
COUNT = 60


@pytest.fixture
def rows(tmp_path):
    """id → (hash, text), near each other in chains and equal; and pairs of ids among them, as a file and as a set."""
    rng = random.Random(5)
    centers = [rng.getrandbits(64) for _ in range(4)]
    found = {}
    for number in range(COUNT):
        value = rng.choice(centers)
        for _ in range(rng.choice([0, 0, 1, 2, 4, 7])):
            value ^= 1 << rng.randrange(64)
        found[number] = (value, rng.choice("ab"))
    table = pa.table({
        "id": list(found), "h": [f"{value:016x}" for value, _ in found.values()], "t": [t for _, t in found.values()]
    })  # fmt: skip
    pq.write_table(table, tmp_path / "rows.parquet")
    near = [pair for pair in combinations(found, 2) if (found[pair[0]][0] ^ found[pair[1]][0]).bit_count() <= 4]
    pairs = rng.sample(near, 60)
    text = "".join(f'"{b}","{a}"\n' for a, b in pairs)
    (tmp_path / "never.csv").write_text(f"a,b\n{text}nobody,1\n")
    return found, set(pairs), tmp_path


def loop(found, pairs, threshold, *, text=False, references=()):
    """id → the id it is dropped for, the distance and whether the hashes are the same."""
    kept, dropped = list(references), {}
    for number in sorted(set(found) - set(references)):
        value, word = found[number]
        for other in kept:
            apart = (value ^ found[other][0]).bit_count()
            barred = (min(number, other), max(number, other)) in pairs
            if apart <= threshold and not barred and (not text or word == found[other][1]):
                dropped[number] = (other, apart)
                break
        else:
            kept.append(number)
    return dropped


def dropped_of(result):
    return {row["id"]: (row["kept_id"], row["distance"]) for row in result.table("duplicates")}


@pytest.mark.parametrize("side", ["here", "spark"])
@pytest.mark.parametrize(
    ("options", "how"),
    [((), {"threshold": 0}), (("--threshold", 4, "--text-col", "t"), {"threshold": 4, "text": True})],
    ids=["equal", "near-with-text"],
)
def test_the_rule_passes_over_pairs(rows, run, monkeypatch, side, options, how):
    found, pairs, folder = rows
    if side == "spark":
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    result = run(folder / "rows.parquet", *READY, *options, "--never", folder / "never.csv")
    assert dropped_of(result) == loop(found, pairs, **how) != loop(found, set(), **how)
    assert all((row["reason"] == "same_hash") == (row["distance"] == 0) for row in result.table("duplicates"))
    assert result.summary["never"] == {"pairs": 61, "unknown_ids": 1}


@pytest.mark.parametrize(("side", "threshold"), [("here", 4), ("spark", 4), ("spark", 0)])
@pytest.mark.long
def test_an_index_remembers_pairs_and_its_rows_are_named_too(rows, run, monkeypatch, side, threshold):
    found, pairs, folder = rows
    if side == "spark":
        monkeypatch.setattr(small, "MOST_ROWS", -1)
    table = pq.read_table(folder / "rows.parquet")
    pq.write_table(table.slice(0, 20), folder / "first.parquet")
    pq.write_table(table.slice(20), folder / "rest.parquet")
    options = (*READY, *(("--threshold", threshold) if threshold else ()), "--index", folder / "index")
    first = run(folder / "first.parquet", *options, "--never", folder / "never.csv", "--run-id", "one")
    here = {number: found[number] for number in range(20)}
    assert dropped_of(first) == loop(here, pairs, threshold)
    # Not told again.
    rest = run(folder / "rest.parquet", *options, "--run-id", "two")
    stay = [number for number in here if number not in first.dropped]
    later = {number: found[number] for number in (*stay, *range(20, COUNT))}
    expected = loop(later, pairs, threshold, references=stay)
    assert dropped_of(rest) == expected != loop(later, set(), threshold, references=stay)


@pytest.mark.parametrize("with_references", [False, True])
def test_embeddings(run, tmp_path, with_references):
    rng = np.random.default_rng(3)
    # All near each other; more pairs than the search lists neighbours at once.
    vectors = np.ones((24, 8)) + rng.normal(0, 0.02, (24, 8))
    vectors[5] = vectors[2]
    pairs = {(0, number) for number in range(1, 24)} | {(a, b) for a in range(1, 12) for b in (22, 23)}
    ids = list(range(24))
    table = pa.table({"id": ids, "v": vectors.tolist()})
    parts = [table.slice(0, 12), table.slice(12)] if with_references else [table]
    for number, part in enumerate(parts):
        pq.write_table(part, tmp_path / f"{number}.parquet")
    pq.write_table(pa.table({"a": [a for a, _ in pairs], "b": [b for _, b in pairs]}), tmp_path / "never.parquet")
    options = ["--method", "clip", "--embedding-col", "v", "--id-col", "id", "--never", tmp_path / "never.parquet"]
    if with_references:
        result = run(tmp_path / "1.parquet", *options, "--against", tmp_path / "0.parquet")
        # 22 and 23 may match row 0 alone among the references, and are barred from it, too: the first of the rest.
        assert result.dropped == {**dict.fromkeys(range(12, 22), 1), 23: 22}
    else:
        result = run(tmp_path / "0.parquet", *options)
        # 22 and 23 find nobody before them that stays: all others are gone for row 1, which they must not match.
        assert result.dropped == {**dict.fromkeys(range(2, 22), 1), 23: 22}


@pytest.mark.long
def test_stages_mind_whom_a_row_stands_for(run, tmp_path):
    from pyspark.sql import SparkSession

    from imgdedup_spark.config.command_line import read_options
    from imgdedup_spark.job import run as run_job

    # 2 goes for 1 at first; 1 would go for 0, with which 2 is never matched.
    pq.write_table(
        pa.table({"id": [0, 1, 2], "h": ["00", "0f", "0f"], "g": ["00", "01", "ff"]}), tmp_path / "r.parquet"
    )
    (tmp_path / "never.jsonl").write_text('{"a": 0, "b": 2}\n')
    file = tmp_path / "stages.yaml"
    file.write_text("stages:\n  - {hash_col: h}\n  - {hash_col: g, threshold: 2}\n")
    found = []
    for more in ([], ["--never", str(tmp_path / "never.jsonl")]):
        out = tmp_path / f"o{len(more)}"
        options = [
            "--config",
            str(file),
            "--input",
            str(tmp_path / "r.parquet"),
            "--id-col",
            "id",
            "--output",
            str(out),
        ]
        run_job(SparkSession.getActiveSession(), read_options([*options, *more]))
        found.append({row["id"]: row["kept_id"] for row in pq.read_table(out / "duplicates").to_pylist()})
    assert found == [{1: 0, 2: 0}, {2: 1}]


def test_ids_that_are_nobodys_are_told(rows, run, caplog):
    _, _, folder = rows
    with pytest.raises(UserError, match="--strict: --never names ids that are no row's: 'nobody'"):
        run(folder / "rows.parquet", *READY, "--never", folder / "never.csv", "--strict")
    assert "--never: 1 ids of its pairs are no row's: 'nobody'" in caplog.text
    inside = folder / "out" / "never.csv"
    inside.parent.mkdir()
    inside.write_text("a,b\n")
    with pytest.raises(UserError, match=r"--never .*never\.csv lies in it"):
        run(folder / "rows.parquet", *READY, "--never", inside, "--overwrite", output="out")
