"""Rows of several views: who stays is what the slow twin says, however rows and their views hang together."""

from __future__ import annotations

import numpy as np
import pytest
from near_cases import context_digests, distance, make_bits, to_codes

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.barred import pack_pairs
from imgdedup_spark.kernels.hamming import several
from imgdedup_spark.kernels.hamming.parts import Part
from imgdedup_spark.kernels.hamming.several import Several, first_come_of_several
from imgdedup_spark.kernels.hashes.view_names import CROPS, VIEWS
from imgdedup_spark.match import by_views
from imgdedup_spark.match.by_hash.plan import NearOptions, make_matcher
from imgdedup_spark.match.by_views import Views, first_come_by_views

BALANCED = (Part(128, 24), Part(256, 90, reported=False))
ASKED = range(len(CROPS) + 1)


def make_rows(rng, kind, count, parts):
    """Entries of rows (number, code), the whole first: views are near those of other rows, or of their own."""
    pool = to_codes([make_bits(rng, kind, 6 * count, part.bits, part.threshold) for part in parts])
    rows = []
    for number in range(count):
        some = sorted(rng.choice(np.arange(1, len(VIEWS)), rng.integers(0, 6), replace=False).tolist())
        # Of a chain, what comes next; of clusters, a mixture of them.
        places = range(number * 6, number * 6 + len(some) + 1) if kind == "chain" else rng.integers(0, len(pool), 6)
        rows.append([(view, pool[place].tobytes()) for view, place in zip([0, *some], places, strict=False)])
    return rows


def slow(rows, parts, contexts, never=()):
    """Of each row (keeper, distance, its view, the keeper's view)."""
    kept, found = [], []
    for number, entries in enumerate(rows):
        for other in kept:
            if contexts[other] != contexts[number] or (other, number) in never:
                continue
            pairs = [
                (away, mine, theirs)
                for mine, code in entries
                for theirs, code_there in rows[other]
                if theirs in ASKED and (away := distance(code, code_there, parts)) is not None
            ]
            if pairs:
                found.append((other, *min(pairs)))
                break
        else:
            kept.append(number)
            found.append((number, 0, 0, 0))
    return found


def packed(rows):
    others = [(number, *entry) for number, entries in enumerate(rows) for entry in entries[1:]]
    width = len(rows[0][0][1])
    codes = np.frombuffer(b"".join(code for _, _, code in others), np.uint8).reshape(-1, width)
    numbers = np.array([view for _, view, _ in others], np.uint8)
    return Views(np.array([row for row, _, _ in others], np.int64), numbers, codes)


@pytest.mark.parametrize("kind", ["random", "clusters", "chain", "all_near", "shared_bits"])
@pytest.mark.parametrize("parts", [BALANCED, (Part(64, 8),), (Part(64, 0),)], ids=["pair", "64", "equal"])
@pytest.mark.parametrize("with_texts", [False, True])
def test_who_stays_is_what_the_slow_twin_says(kind, parts, with_texts):
    rng = np.random.default_rng([len(kind), len(parts), parts[0].threshold])
    rows = make_rows(rng, kind, 150, parts)
    texts = rng.integers(0, 3, len(rows)) if with_texts else np.zeros(len(rows), int)
    wholes = np.stack([np.frombuffer(entries[0][1], np.uint8) for entries in rows])
    contexts = context_digests(texts) if with_texts else None
    found = first_come_by_views(wholes, packed(rows), contexts, parts)
    assert found.views is not None
    mine = zip(found.keeper.tolist(), found.distances.tolist(), *found.views.T.tolist(), strict=True)
    assert list(mine) == slow(rows, parts, texts.tolist())
    assert found.plan["views"] == sum(map(len, rows))


@pytest.mark.parametrize("kind", ["clusters", "chain", "all_near"])
def test_pairs_that_never_match_are_passed_over(kind):
    rng = np.random.default_rng(5)
    rows = make_rows(rng, kind, 150, BALANCED)
    wholes = np.stack([np.frombuffer(entries[0][1], np.uint8) for entries in rows])
    before = slow(rows, BALANCED, [0] * len(rows))
    never = {(keeper, row) for row, (keeper, *_) in enumerate(before) if keeper != row and row % 2}
    pairs = np.array(sorted(never), np.int64) + 1
    numbers = np.arange(1, len(rows) + 1)
    found = first_come_by_views(wholes, packed(rows), None, BALANCED, numbers=numbers, barred=pack_pairs(pairs))
    assert found.views is not None
    mine = list(zip(found.keeper.tolist(), found.distances.tolist(), *found.views.T.tolist(), strict=True))
    assert mine == slow(rows, BALANCED, [0] * len(rows), never) != before


@pytest.mark.parametrize("kind", ["clusters", "chain"])
@pytest.mark.parametrize("block", [1, 7])
def test_blocks_of_open_rows_change_nothing(monkeypatch, kind, block):
    parts = (Part(64, 8),)
    rng = np.random.default_rng(11)
    rows = make_rows(rng, kind, 200, parts)
    codes = np.stack([np.frombuffer(code, np.uint8) for entries in rows for _, code in entries])
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    asked = np.array([view in ASKED for entries in rows for view, _ in entries])
    matcher = make_matcher(codes, parts, False, len(codes), 0, NearOptions())
    open_rows, real = [], several._resolve
    monkeypatch.setattr(several, "_resolve", lambda *given: (open_rows.extend(given[2]), real(*given)))
    keeper = first_come_of_several(matcher, Several(matcher.pack(codes), starts, asked), block)
    truth = [one[0] for one in slow(rows, parts, [0] * len(rows))]
    assert keeper.tolist() == truth
    # Chains and clusters leave rows open after the first sweep, which is what blocks are for.
    assert len(open_rows) > 10


def test_more_views_than_one_process_holds_are_refused(monkeypatch):
    monkeypatch.setattr(by_views, "MOST_VIEWS", 2)
    views = Views(np.array([0]), np.array([1], np.uint8), np.zeros((1, 8), np.uint8))
    with pytest.raises(UserError, match="these 2 rows have 3 views, and up to 2 can be compared"):
        first_come_by_views(np.zeros((2, 8), np.uint8), views, None, (Part(64, 8),))


def test_nothing_is_compared_with_nothing():
    none = Views(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros((0, 8), np.uint8))
    assert len(first_come_by_views(np.zeros((0, 8), np.uint8), none, None, (Part(64, 8),)).keeper) == 0


def test_a_turned_view_of_the_earlier_row_is_not_asked():
    code = np.arange(8, dtype=np.uint8)
    wholes = np.stack([~code, code])
    turned = VIEWS.index("flip")
    earlier = Views(np.array([0]), np.array([turned], np.uint8), code[None])
    assert first_come_by_views(wholes, earlier, None, (Part(64, 0),)).keeper.tolist() == [0, 1]
    later = Views(np.array([1]), np.array([turned], np.uint8), ~code[None])
    found = first_come_by_views(wholes, later, None, (Part(64, 0),))
    assert found.keeper.tolist() == [0, 0] and found.views is not None
    assert found.views.tolist() == [[0, 0], [turned, 0]]
