"""The first-come rule: the compiled core without Spark on many sets, both Spark paths on some."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_cases import (
    KINDS,
    Item,
    context_digests,
    first_come_loop,
    make_bits,
    make_matcher,
    to_codes,
)

from imgdedup_spark.kernels.hamming.first_come import DROPPED_OUTSIDE, KEPT, first_come_rule, resolve
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.hamming.table import Matcher, earliest_neighbours
from imgdedup_spark.kernels.hamming.units import (
    BOTH,
    BUCKETS,
    QUERY,
    REFERENCE,
    TARGET,
    assign_units,
    prefixes_for,
    search_share,
    search_unit,
)
from imgdedup_spark.match.by_hash.first_come import Earlier, first_come
from imgdedup_spark.match.by_hash.plan import NearOptions

PARTS = (
    (Part(64, 8),),
    (Part(64, 1),),
    (Part(42, 4),),
    (Part(256, 15),),
    (Part(64, 32),),
    (Part(64, 5), Part(64, 5)),
    (Part(64, 10), Part(144, 12, reported=False)),
)


def make_items(rng: np.random.Generator, parts: tuple[Part, ...], kind: str, count: int, contexts: int) -> list[Item]:
    """Distinct items of random ranks."""
    codes = to_codes([make_bits(rng, kind, count, part.bits, part.threshold) for part in parts])
    ranks = rng.choice(np.arange(-5 * count, 5 * count), count, replace=False).tolist()
    texts = [b"%d" % number for number in rng.integers(0, contexts, count)]
    distinct = {(code.tobytes(), text): rank for rank, code, text in zip(ranks, codes, texts, strict=True)}
    return [(rank, code, text) for (code, text), rank in distinct.items()]


def to_table(items: list[Item], parts: tuple[Part, ...], **options: Any) -> tuple[Matcher, np.ndarray, np.ndarray]:
    """The matcher, ranks and table of items that are sorted by rank."""
    codes = np.array([np.frombuffer(code, dtype=np.uint8) for _, code, _ in items])
    matcher = make_matcher(codes, parts, contexts=True, **options)
    contexts = context_digests([int(text) for _, _, text in items])
    return matcher, np.array([rank for rank, _, _ in items]), matcher.pack(codes, contexts)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(PARTS),
    st.sampled_from(KINDS),
    st.integers(1, 90),
    st.sampled_from([1, 3, 200]),
)
@pytest.mark.long
def test_core_agrees_with_the_loop(seed: int, parts: tuple[Part, ...], kind: str, count: int, contexts: int) -> None:
    """Each example is decided under five plans, in one and in several shares: 4,000 decisions of whole sets."""
    rng = np.random.default_rng(seed)
    items = sorted(make_items(rng, parts, kind, count, contexts))
    expected = [keeper for keeper, _, _ in first_come_loop(items, parts).values()]
    for k in (0, 1, 2, 3, None):
        matcher, ranks, table = to_table(
            items, parts, k=k, main=int(rng.integers(len(parts))), deepen=float(rng.choice([1, 1e9]))
        )
        block = int(rng.choice([1, 7, 1000]))
        keeper, _ = first_come_rule(matcher, table, earliest_neighbours(matcher, table), block)
        assert ranks[keeper].tolist() == expected
        best = np.arange(len(items), dtype=np.int32)
        tasks = int(rng.integers(2, 5))
        for task in range(tasks):
            rows, found = search_share(matcher, table, task, tasks)
            best[rows] = np.minimum(best[rows], found)
        keeper, _ = first_come_rule(matcher, table, best, block)
        assert ranks[keeper].tolist() == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.integers(2, 90), st.sampled_from([1, 5]))
def test_the_last_walk_minds_keepers_outside(seed: int, kind: str, count: int, contexts: int) -> None:
    """Half of the kept items are taken out of the table; what they drop is told by limits."""
    rng = np.random.default_rng(seed)
    parts = (Part(64, 8),)
    items = sorted(make_items(rng, parts, kind, count, contexts))
    decided = first_come_loop(items, parts)
    ranks = [rank for rank, _, _ in items]
    kept = [rank for rank in ranks if decided[rank][0] == rank]
    outside = set(rng.choice(kept, len(kept) // 2, replace=False).tolist())
    inside = [item for item in items if item[0] not in outside]
    matcher, left, table = to_table(inside, parts, k=2)
    limits, known = np.arange(len(inside), dtype=np.int32), np.zeros(len(inside), dtype=np.bool_)
    for row, item in enumerate(inside):
        earlier = [other for other in items if other[0] in outside and other[0] < item[0]]
        found = first_come_loop([item], parts, earlier)[item[0]]
        if found[1]:
            limits[row], known[row] = np.searchsorted(left, found[0]), True
    rows = np.arange(len(inside), dtype=np.int32)
    keeper = resolve(
        matcher, table, rows, np.zeros(len(inside), dtype=np.bool_), limits, known, int(rng.choice([1, 5, 99]))
    )
    for row, rank in enumerate(left.tolist()):
        expected = decided[rank][0]
        if expected in outside:
            assert keeper[row] == DROPPED_OUTSIDE
        else:
            assert (rank if keeper[row] == KEPT else left[keeper[row]]) == expected


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(PARTS), st.sampled_from(KINDS), st.sampled_from([1, 3, 200]),
    st.sampled_from([0, 1, 2, 3]), st.sampled_from([7, 40, 1000]),
)  # fmt: skip
@pytest.mark.long
def test_units_hold_every_pair(
    seed: int, parts: tuple[Part, ...], kind: str, contexts: int, k: int, unit_hashes: int
) -> None:
    """Routed to units, split or not, by one band or two, each query meets its earliest neighbour; no unit is large."""
    rng = np.random.default_rng(seed)
    items = make_items(rng, parts, kind, 60, contexts)
    matcher, ranks, table = to_table(items, parts, k=k)
    roles = rng.choice([REFERENCE, TARGET, BOTH, QUERY], len(items)).astype(np.uint8)
    prefixes = prefixes_for(matcher, int(rng.choice([60, 10**9])), unit_hashes)
    totals = np.stack([np.bincount(matcher.buckets(table, prefix, BUCKETS), minlength=BUCKETS) for prefix in prefixes])
    routes = assign_units(prefixes, totals, unit_hashes)
    found: dict[int, tuple[bool, int, int]] = {}
    for unit, members in routes.split_rows(matcher, ranks, table):
        assert len(members) <= 2 * unit_hashes + 20
        prefix = prefixes[routes.unit_prefix[unit]]
        for batch in search_unit(matcher, prefix, ranks[members], table[members], roles[members]):
            for row in batch.to_pylist():
                new = (not row["is_reference"], row["neighbour"], row["distance"])
                found[row["rank"]] = min(found.get(row["rank"], new), new)
    expected = {}
    for item, role in zip(items, roles, strict=True):
        if role in (BOTH, QUERY):
            before = [other for other, r in zip(items, roles, strict=True) if r == REFERENCE]
            decided = first_come_loop([item], parts, before)[item[0]]
            if not decided[1]:
                targets = zip(items, roles, strict=True)
                earlier = [other for other, r in targets if r in (TARGET, BOTH) and other[0] < item[0]]
                decided = first_come_loop([item], parts, earlier)[item[0]]
                if not decided[1]:
                    continue
                expected[item[0]] = (True, decided[0], decided[2])
            else:
                expected[item[0]] = (False, decided[0], decided[2])
    assert found == expected


@pytest.fixture
def stage(spark: Any, tmp_path: Path) -> Callable[[str, Any], Any]:
    numbers = itertools.count()

    def store(name: str, frame: Any) -> Any:
        path = str(tmp_path / f"{next(numbers)}_{name}")
        frame.write.parquet(path)
        return spark.read.parquet(path)

    return store


def run(
    spark: Any, stage: Any, items: list[Item], parts: Any, references: list[Item], options: NearOptions, files: int
) -> Any:
    """The decisions as a dict, and the plan."""
    schema = "rank bigint, code binary, context binary"
    contexts = len({text for _, _, text in items + references}) > 1

    def frame(rows: list[Item]) -> Any:
        made = spark.createDataFrame([(r, bytearray(c), bytearray(t)) for r, c, t in rows], schema).repartition(files)
        return made if contexts else made.drop("context")

    decisions, plan = first_come(
        frame(items),
        len(items),
        parts,
        stage=stage,
        earlier=Earlier(frame(references), len(references)) if references else Earlier(),
        options=options,
    )
    rows = decisions.collect()
    assert len(rows) == len(items)
    return {row["rank"]: (row["keeper"], row["is_reference"], row["distance"]) for row in rows}, plan


# Each row is one Spark run; together they take every plan and path, one and several tasks, blocks and split units.
RUNS = [
    ("broadcast", None, NearOptions(path="broadcast"), 1),
    ("broadcast", 0, NearOptions(path="broadcast", k=0, tasks=3), 2),
    ("broadcast", 1, NearOptions(path="broadcast", k=1, tasks=3, block=5), 3),
    ("broadcast", 2, NearOptions(path="broadcast", k=2, tasks=2, deepen=1e9), 1),
    ("broadcast", 3, NearOptions(path="broadcast", k=3, tasks=3, deepen=1e9), 4),
    ("shuffle", None, NearOptions(path="shuffle"), 1),
    ("shuffle", 0, NearOptions(path="shuffle", k=0, unit_hashes=60), 2),
    ("shuffle", 1, NearOptions(path="shuffle", k=1, unit_hashes=60, block=5), 3),
    ("shuffle", 2, NearOptions(path="shuffle", k=2, unit_hashes=80, broadcast_bytes=0), 2),
    ("shuffle", 3, NearOptions(path="shuffle", k=3, unit_hashes=500, broadcast_bytes=0), 1),
]


@pytest.mark.spark
@pytest.mark.parametrize("number", range(len(RUNS)), ids=[f"{path}-{k}" for path, k, _, _ in RUNS])
def test_spark_agrees_with_the_loop(spark: Any, stage: Any, number: int) -> None:
    path, k, options, files = RUNS[number]
    rng = np.random.default_rng(number)
    parts = (PARTS[0], PARTS[6])[number % 2]
    contexts = (1, 4, 300)[number % 3]
    kind = ("clusters", "chain")[number // 2 % 2]
    items = make_items(rng, parts, kind, 150, contexts)
    # Half of the runs compare with references; some are equal to items, and their ranks are the items' own.
    references = [] if number % 4 < 2 else make_items(rng, parts, kind, 40, contexts)
    references += [(10**6 + rank, code, text) for rank, code, text in items[:5]] if references else []
    decisions, plan = run(spark, stage, items, parts, references, options, files)
    assert decisions == first_come_loop(items, parts, references)
    assert plan["path"] == path
    assert k is None or plan["k"] == k


@pytest.mark.spark
def test_no_items_is_a_normal_run(spark: Any, stage: Any) -> None:
    assert run(spark, stage, [], PARTS[0], [], NearOptions(), 1)[0] == {}


@pytest.mark.spark
def test_one_part_that_all_share_is_not_the_key(spark: Any, stage: Any) -> None:
    """Rows of two pictures whose first is the same logo everywhere: the second finds the candidates."""
    rng = np.random.default_rng(0)
    parts = (Part(64, 8), Part(64, 8))
    columns = [np.zeros((300, 64), dtype=np.uint8), make_bits(rng, "random", 300, 64, 8)]
    items = [(rank, code.tobytes(), b"") for rank, code in enumerate(to_codes(columns))]
    decisions, plan = run(spark, stage, items, parts, [], NearOptions(k=2), 1)
    assert decisions == first_come_loop(items, parts)
    assert plan["comparisons"] < 300 * 299 / 4
