"""The compiled search against NumPy twins."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from near_cases import KINDS, context_digests, make_bits, make_matcher, to_codes

from imgdedup_spark.kernels.hamming.bands import make_probe_plan
from imgdedup_spark.kernels.hamming.bits import permute_bits
from imgdedup_spark.kernels.hamming.parts import Part, pack_codes
from imgdedup_spark.kernels.hamming.table import Matcher, earliest_neighbours

ROOT = Path(__file__).parents[3]


def twin(columns: list[np.ndarray], parts: list[Part], contexts: np.ndarray) -> np.ndarray:
    """``(n, n)``: whether the rows match, from the bits."""
    matches = contexts[:, None] == contexts[None, :]
    for column, part in zip(columns, parts, strict=True):
        wide = column.astype(np.int32)
        # |a xor b| = |a| + |b| - 2 |a and b|
        ones = wide.sum(axis=1)
        matches &= ones[:, None] + ones[None, :] - 2 * wide @ wide.T <= part.threshold
    return matches


def earliest_among(matches: np.ndarray, targets: np.ndarray, queries: np.ndarray) -> list[int]:
    """Each query's smallest matching target before it, or its own number."""
    return [min((int(t) for t in targets if t < q and matches[q, t]), default=int(q)) for q in queries]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [42, 64, 100, 128, 144, 256, 300, 1024])
def test_search_agrees_with_the_twin(kind: str, bits: int) -> None:
    rng = np.random.default_rng([KINDS.index(kind), bits])
    for threshold in (1, bits // 16, bits // 8, bits // 4, bits // 2):
        count = int(rng.integers(2, 150))
        parts = [Part(bits, threshold)]
        columns = [make_bits(rng, kind, count, bits, threshold)]
        contexts = rng.integers(0, rng.choice([1, 3]), count)
        matches = twin(columns, parts, contexts)
        codes = to_codes(columns)
        rows = np.arange(count, dtype=np.int32)
        for k in (0, 1, 2, 3):
            # 1e9 makes even two hashes descend through all k bands; 1 does so where it pays.
            for deepen in (1.0, 1e9) if threshold + k < 20 else (1.0,):
                matcher = make_matcher(codes, parts, k=k, contexts=True, deepen=deepen)
                table = matcher.pack(codes, context_digests(contexts.tolist()))
                assert earliest_neighbours(matcher, table).tolist() == earliest_among(matches, rows, rows)
                chosen = rng.random(count) < 0.5
                targets, queries = rows[chosen], rows[~chosen]
                best = rows.copy()
                matcher.search(table, targets, queries, best)
                assert best[queries].tolist() == earliest_among(matches, targets, queries)
                assert (best[targets] == targets).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [42, 64, 100, 256, 1024])
def test_probing_agrees_with_the_twin(kind: str, bits: int) -> None:
    """Few among many, by buckets one bit away, whatever it costs."""
    rng = np.random.default_rng([KINDS.index(kind), bits, 1])
    for threshold in (1, 2, bits // 8, bits // 4):
        count = int(rng.integers(2, 150))
        parts = [Part(bits, threshold)]
        columns = [make_bits(rng, kind, count, bits, threshold)]
        matches = twin(columns, parts, np.zeros(count))
        codes = to_codes(columns)
        matcher = make_matcher(codes, parts, k=int(rng.integers(0, 3)))
        table = matcher.pack(codes)
        probe = make_probe_plan(table, bits, threshold)
        assert probe is not None and probe.rate > 0
        matcher = replace(matcher, probe=replace(probe, rate=-1e9))
        rows = np.arange(count, dtype=np.int32)
        chosen = rng.random(count) < 0.8
        targets, queries = rows[chosen], rows[~chosen]
        limits = (rows * rng.random(count)).astype(np.int32) if count % 2 else rows
        best = limits.copy()
        matcher.search(table, targets, queries, best)
        expected = [min((t for t in targets if t < limits[q] and matches[q, t]), default=limits[q]) for q in queries]
        assert best[queries].tolist() == expected
        assert (best[targets] == limits[targets]).all()


def test_limits_bound_what_counts() -> None:
    rng = np.random.default_rng(5)
    codes = to_codes([make_bits(rng, "clusters", 200, 64, 8)])
    matches = twin([np.unpackbits(codes, axis=1)], [Part(64, 8)], np.zeros(200))
    rows = np.arange(200, dtype=np.int32)
    limits = (rows * rng.random(200)).astype(np.int32)
    for k in (0, 1, 2, 3):
        matcher = make_matcher(codes, [Part(64, 8)], k=k, deepen=1e9)
        best = limits.copy()
        matcher.search(matcher.pack(codes), rows, rows, best)
        expected = [min((t for t in range(limit) if matches[q, t]), default=limit) for q, limit in enumerate(limits)]
        assert best.tolist() == expected


@pytest.mark.parametrize("k", [1, 2, 3])
def test_shares_of_the_keys_add_up(k: int) -> None:
    """Tasks that search only some buckets of one or two first bands find everything between them."""
    rng = np.random.default_rng(k)
    codes = to_codes([make_bits(rng, "clusters", 300, 64, 6)])
    contexts = context_digests(rng.integers(0, 3, 300).tolist())
    matcher = make_matcher(codes, [Part(64, 6)], k=k, contexts=True, deepen=1e9)
    table = matcher.pack(codes, contexts)
    whole = earliest_neighbours(matcher, table)
    bands = range(matcher.plan.first_bands)
    for prefixes in [[(a,) for a in bands], [(a, b) for a in bands for b in range(a + 1, len(bands) + 1)]]:
        if len(prefixes[0]) > k:
            continue
        best = np.arange(300, dtype=np.int32)
        for prefix in prefixes:
            buckets = matcher.buckets(table, prefix, 4)
            for bucket in range(4):
                rows = np.flatnonzero(buckets == bucket).astype(np.int32)
                matcher.search(table, rows, rows, best, prefix)
        assert (best == whole).all()


def test_every_part_counts_and_reported_ones_make_the_distance() -> None:
    parts = [Part(64, 3), Part(256, 10, reported=False), Part(42, 5)]
    rng = np.random.default_rng(0)
    columns = [make_bits(rng, "clusters", 120, part.bits, part.threshold) for part in parts]
    for column in columns:
        column[60:] = column[:60]
        column[np.arange(60, 120), rng.integers(0, column.shape[1], 60)] ^= 1
    codes = to_codes(columns)
    matches = twin(columns, parts, np.zeros(120))
    rows = np.arange(120, dtype=np.int32)
    for main in range(3):
        matcher = make_matcher(codes, parts, main=main)
        table = matcher.pack(codes)
        best = earliest_neighbours(matcher, table)
        assert best.tolist() == earliest_among(matches, rows, rows)
        expected = np.maximum(
            (columns[0] != columns[0][best]).sum(axis=1), (columns[2] != columns[2][best]).sum(axis=1)
        )
        assert matcher.distances(table, rows, best).tolist() == expected.tolist()


@pytest.mark.parametrize("words", [1, 2, 4, 8, 9, 64])
def test_permuting_moves_the_bits_it_says(words: int) -> None:
    rng = np.random.default_rng(words)
    table = rng.integers(0, 1 << 64, (5, words), dtype=np.uint64, endpoint=False)
    order = rng.permutation(64 * words)
    bits = np.unpackbits(table.view(np.uint8), axis=1, bitorder="little")
    moved = np.unpackbits(permute_bits(table, order.tolist()).view(np.uint8), axis=1, bitorder="little")
    assert (moved == bits[:, order]).all()


def test_packing_keeps_distances() -> None:
    parts = [Part(42, 1), Part(64, 1), Part(100, 1)]
    rng = np.random.default_rng(0)
    columns = [make_bits(rng, "random", 2, part.bits, 1) for part in parts]
    for column, words in zip(columns, pack_codes(to_codes(columns), parts), strict=True):
        assert sum(int(word).bit_count() for word in words[0] ^ words[1]) == (column[0] != column[1]).sum()


def test_dense_sets_cost_no_pairs() -> None:
    """40,000 hashes all within T of one another are 800 million pairs; each needs to meet only its earliest."""
    rng = np.random.default_rng(0)
    flips = rng.integers(0, 64, (60_000, 4))
    near = np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64), axis=1)
    near = rng.permutation(np.unique(near))[:40_000]
    matcher = make_matcher(near.view(np.uint8).reshape(-1, 8), [Part(64, 8)])
    best = earliest_neighbours(matcher, matcher.pack(near.view(np.uint8).reshape(-1, 8)))
    assert (best == 0).all()


@pytest.mark.parametrize("packed", [False, True], ids=["read-only folder", "zip"])
def test_kernels_compile_where_numba_cannot_cache(tmp_path: Path, packed: bool) -> None:
    folder = "imgdedup_spark/kernels/hamming"
    sources = {"imgdedup_spark/__init__.py": "", "imgdedup_spark/kernels/__init__.py": ""}
    compiled = "imgdedup_spark/compiled.py"
    sources[compiled] = (ROOT / compiled).read_text()
    files = [ROOT / "imgdedup_spark/compiled.py", *(ROOT / folder).glob("*.py")]
    sources |= {str(file.relative_to(ROOT)): file.read_text() for file in files}
    if packed:
        place = tmp_path / "package.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for name, text in sources.items():
                archive.writestr(name, text)
    else:
        place = tmp_path / "package"
        (place / folder).mkdir(parents=True)
        for name, text in sources.items():
            (place / name).write_text(text)
        # A file where the cache folder would be: no user, not even root, can make it.
        for one in (place / folder, place / folder.rpartition("/")[0]):
            (one / "__pycache__").write_text("")
    script = (
        "import numpy as np\n"
        "from imgdedup_spark.kernels.hamming.bits import permute_bits\n"
        "print(permute_bits(np.array([[1]], dtype=np.uint64), list(range(63, -1, -1)))[0, 0])\n"
    )
    # No home either, so that there is no user-wide cache folder to fall back on.
    env = {**os.environ, "PYTHONPATH": str(place), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-B", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(1 << 63), done.stderr[-2000:]


def test_a_matcher_travels() -> None:
    import pickle

    codes = to_codes([make_bits(np.random.default_rng(0), "clusters", 50, 64, 8)])
    matcher = make_matcher(codes, [Part(64, 8)])
    copy: Matcher = pickle.loads(pickle.dumps(matcher))
    assert (copy.pack(codes) == matcher.pack(codes)).all()
