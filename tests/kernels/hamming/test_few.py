"""Few hashes, decided by NumPy, are decided as compiled code does it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from imgdedup_spark.kernels.barred import NOT_BARRED
from imgdedup_spark.kernels.hamming import few
from imgdedup_spark.kernels.hamming.parts import CONTEXT_BYTES, Part
from imgdedup_spark.match.by_hash.plan import NearOptions
from imgdedup_spark.match.packed import first_come

PARTS = {
    "64": [Part(64, 8)],
    "odd": [Part(9, 2)],
    "two images": [Part(64, 6), Part(64, 6)],
    "preset": [Part(128, 16), Part(256, 80, reported=False)],
}
pytestmark = pytest.mark.skipif(not hasattr(np, "bitwise_count"), reason="NumPy 1 does not count bits")


def items(parts, count, seed):
    """(count, bytes) distinct codes in chains and clusters, so that many an earliest neighbour is dropped itself."""
    chance = np.random.default_rng(seed)
    cluster, made = chance.integers(0, max(1, count // 12), count), []
    spread = chance.choice([0, 0.5, 1.2], (count, 1))
    for part in parts:
        centers = chance.integers(0, 2, (max(1, count // 12), part.bits), dtype=np.uint8)
        flips = chance.random((count, part.bits)) < spread * part.threshold / part.bits
        spare = np.zeros((count, 8 * part.bytes - part.bits), np.uint8)
        made.append(np.packbits(np.concatenate([spare, centers[cluster] ^ flips], axis=1), axis=1))
    return np.concatenate(made, axis=1)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("references", [0, 1, 150])
@pytest.mark.parametrize("among", [True, False])
@pytest.mark.parametrize("contexts", [0, 3])
def test_as_compiled(name, references, among, contexts, monkeypatch):
    monkeypatch.setattr(few, "_OTHERS", 60)
    parts = PARTS[name]
    for seed, count in enumerate((1, 2, 127, 128, 129, 700)):
        codes = items(parts, references + count, seed)
        texts = None
        if contexts:
            texts = np.zeros((len(codes), CONTEXT_BYTES), np.uint8)
            texts[:, 3] = np.random.default_rng(seed).integers(0, contexts, len(codes))
        key = codes if texts is None else np.concatenate([codes, texts], axis=1)
        first = np.sort(np.unique(key, axis=0, return_index=True)[1])
        before = int((first < references).sum())
        codes, texts = codes[first], None if texts is None else texts[first]
        mine = first_come(codes, texts, parts, before, among=among)
        theirs = first_come(codes, texts, parts, before, NearOptions(), among=among)
        assert mine.keeper.tolist() == theirs.keeper.tolist()
        assert mine.distances.tolist() == theirs.distances.tolist()
        if len(codes) > before:
            assert mine.plan["k"] == 0
            assert [mine.plan[name] for name in ("hashes", "references")] == [len(codes) - before, before]
        if count == 700 and among and name != "odd":
            assert 50 < (mine.keeper != np.arange(len(codes))).sum() < 650


def test_many_references_take_little_memory():
    codes = np.arange(200_100, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    texts = np.zeros((len(codes), CONTEXT_BYTES), np.uint8)
    texts[:, :8] = codes
    tracemalloc.start()
    found = first_come(codes, texts, [Part(64, 64)], 200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.plan["k"] == 0 and found.keeper.tolist() == list(range(len(codes)))
    assert peak < 100 << 20


def test_what_is_few(monkeypatch):
    assert few.are_few(10_000, 0, 1)
    assert not few.are_few(1_000_000, 0, 1)
    assert not few.are_few(10_000, 0, 4)
    assert not few.are_few(10_000, 1_000_000, 1)
    monkeypatch.delattr(np, "bitwise_count")
    assert not few.are_few(10, 0, 1)


def test_barred_pairs_are_for_compiled_code():
    codes = np.zeros((2, 8), np.uint8)
    codes[1, 0] = 1
    numbers = np.array([1, 2])
    assert first_come(codes, None, PARTS["64"], 0, numbers=numbers, barred=NOT_BARRED).keeper.tolist() == [0, 0]
    barred = np.array([(1 << 32) | 2])
    assert first_come(codes, None, PARTS["64"], 0, numbers=numbers, barred=barred).keeper.tolist() == [0, 1]
