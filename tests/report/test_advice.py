"""Advice on prints that are made: counts are those of the job, forecasts near the truth, pairs where they belong."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.read.sample import Sample
from imgdedup_spark.report.advice import advice_text, advise_on
from imgdedup_spark.report.page import advice_page

SPECS = (HashSpec("phash", 8), HashSpec("md5", 8))
KIND = Hashes(DedupConfig(method="phash", threshold=1, verify=["md5:8:0"]))


def prints_of(hashes, digests=None):
    count = len(hashes)
    errors = pa.list_(pa.struct(dict.fromkeys(("error", "message", "level"), pa.string()) | {"position": pa.int32()}))
    return pa.table(
        {
            "id": pa.array([f"<row> {number}" for number in range(count)]),
            "order": pa.array(range(count), pa.int64()),
            "images": pa.array([1] * count, pa.int32()),
            "imagehash": pa.array([f"{value:016x}" for value in hashes]),
            "verify0": pa.array([f"{value:032x}" for value in digests or hashes]),
            "texthash": pa.nulls(count, pa.string()),
            "flat": pa.nulls(count, pa.string()),
            "errors": pa.array([[]] * count, errors),
            **{name: pa.array([10] * count, pa.int32()) for name in ("width", "height", "quality")},
            "bytes": pa.array([1000] * count, pa.int64()),
        }
    )


def flipped(value, bits):
    return value ^ ((1 << bits) - 1)


def test_counts_by_method_and_threshold():
    rng = np.random.default_rng(0)
    plain = [int(value) for value in rng.integers(0, 1 << 62, 300)]
    hashes = [*plain, *plain[:30], *(flipped(value, 5) for value in plain[30:50]), flipped(plain[50], 9)]
    digests = [*range(321), *range(30)]
    table = prints_of(hashes, digests)
    advice = advise_on(table, KIND, SPECS, Sample(None, len(table), "All."), 0)
    phash, md5 = advice.methods
    assert [(step.threshold, step.dropped) for step in phash.steps] == [
        (0, 30), (2, 30), (4, 30), (6, 50), (8, 50), (10, 51), (12, 51)
    ]  # fmt: skip
    assert [(step.threshold, step.dropped) for step in md5.steps] == [(0, 30)]
    # All rows were looked at: nothing is to be forecast.
    assert all(step.forecast is None for step in phash.steps)
    assert [[pair.distance for pair in step.pairs] for step in phash.steps] == [
        [0, 0, 0],
        [],
        [],
        [5, 5, 5],
        [],
        [9],
        [],
    ]
    pair = phash.steps[-2].pairs[0]
    assert (pair.kept.id, pair.other.id) == ("<row> 50", "<row> 350")
    assert "within  10:        51 dropped (14.53%)" in advice_text(advice)
    page = advice_page(advice, {})
    assert "<row>" not in page and "&lt;row&gt; 350" in page and "too few" not in page


def test_a_sample_says_how_much_it_would_be():
    """14,000 pairs in 40,000 rows: of a fifth of them, the square of the share."""
    rng = np.random.default_rng(1)
    plain = rng.integers(0, 1 << 62, 26_000)
    values = np.concatenate([plain, plain[:14_000]])
    seen = [int(one) for one in rng.permutation(values)[:8000]]
    advice = advise_on(prints_of(seen), KIND, SPECS, Sample(None, 40_000, "One in five."), 0)
    step = advice.methods[0].steps[0]
    assert step.growth is not None and 1.6 < step.growth.exponent < 2.4
    assert step.forecast is not None and step.forecast[1] < 14_000 < step.forecast[2]
    entry = advice.summary()["methods"]["phash"]["thresholds"][0]
    assert entry["forecast"]["low"] < entry["forecast"]["dropped"] < entry["forecast"]["high"]
    assert set(entry["fit"]) == {"exponent", "r2", "off"}


def test_a_law_that_leads_too_far_is_only_a_bound():
    """One row in ten has a copy in a sample of a hundredth: not all rows can go but one."""
    rng = np.random.default_rng(3)
    values = [int(one) for one in rng.integers(0, 1 << 62, 900)]
    advice = advise_on(prints_of([*values, *values[:100]]), KIND, SPECS, Sample(None, 100_000, "Some."), 0)
    step = advice.methods[1].steps[0]
    assert step.forecast == (None, 10_000, 99_999)
    assert advice.summary()["methods"]["md5"]["thresholds"][0]["forecast"]["dropped"] is None
    assert "of all at least 10,000, for the law" in advice_text(advice)
    assert "at least 10,000" in advice_page(advice, {})


@pytest.mark.parametrize("bits", [0, 2])
def test_a_sample_by_bands_keeps_groups_whole(bits):
    """4% of the values of four bands: pairs are whole in it, and count by their chances."""
    rng, share = np.random.default_rng(2), 0.04
    plain = [int(value) for value in rng.integers(0, 1 << 62, 20_000)]
    copies = [value ^ sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for value in plain[:6000]]
    values = rng.random((4, 1 << 16)) < share
    hashes = [
        value
        for value in [*plain, *copies]
        if any(values[band, value >> (48 - 16 * band) & 0xFFFF] for band in range(4))
    ]
    sample = Sample(None, 26_000, "By bands.", bands=share)
    step = advise_on(prints_of(hashes), KIND, SPECS, sample, 0).methods[0].steps[1]
    assert step.threshold == 2 and 500 < step.dropped < 2000 and step.growth is None
    assert step.forecast is not None and step.forecast[1] < 6000 < step.forecast[2] < 7200
