"""What each threshold of some methods would drop of a sample, what that says of the whole, and pairs to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgdedup_spark.hash.hashes import Hashes
from imgdedup_spark.keep.at_once import AtOnce, decide_at_once
from imgdedup_spark.kernels.barred import Exclusions
from imgdedup_spark.kernels.hashes import HashSpec
from imgdedup_spark.read.sample import BANDS, Sample, shared_bands
from imgdedup_spark.read.source import ORDER
from imgdedup_spark.report.choose import Pair, Row
from imgdedup_spark.report.growth import Growth, fit_growth

log = logging.getLogger("imgdedup")
#: Thresholds looked at, for a hash of 64 bits; others in proportion.
LADDER = (0, 2, 4, 6, 8, 10, 12)
#: Pairs shown between one threshold and the next.
SHOWN = 3
#: Levels of nested samples, each of half the rows of the one before, and samples of a level.
_LEVELS, _PARTS = 4, 2


Forecast: TypeAlias = tuple[float | None, float, float]


@dataclass(frozen=True)
class Step:
    """One threshold of one method.

    Attributes:
        dropped: rows of the sample that would go.
        forecast: rows of the whole that would go, with the ends of the interval of 95%; None if it cannot be told. The
            first is None where the law leads so far that it cannot hold.
        growth: what the forecast comes from; None if all rows were looked at, or by bands.
        pairs: some that match at this threshold and not at the one before.
    """

    threshold: int
    dropped: int
    forecast: Forecast | None
    growth: Growth | None
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Method:
    """One method."""

    name: str
    bits: int | None
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Advice:
    """Attributes:
    compared: rows of the sample; ``failed`` of them have an unreadable picture.
    """

    sample: Sample
    compared: int
    failed: int
    methods: tuple[Method, ...]

    @property
    def ids(self) -> list[str]:
        """Of all rows that are shown."""
        pairs = [pair for method in self.methods for step in method.steps for pair in step.pairs]
        return list(dict.fromkeys(row.id for pair in pairs for row in (pair.kept, pair.other)))

    def summary(self) -> dict[str, Any]:
        """The same without pairs, for JSON."""
        return {
            "rows": self.sample.rows,
            "rows_exact": self.sample.exact,
            "rows_looked_at": self.compared,
            "rows_with_errors": self.failed,
            "sample": self.sample.how,
            "methods": {
                one.name: {"bits": one.bits, "thresholds": [_entry(step, self.compared) for step in one.steps]}
                for one in self.methods
            },
        }


def _entry(step: Step, rows: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "threshold": step.threshold,
        "dropped": step.dropped,
        "share": round(step.dropped / rows, 6) if rows else 0.0,
    }
    if step.forecast is not None:
        rounded = (None if one is None else round(one) for one in step.forecast)
        entry["forecast"] = dict(zip(("dropped", "low", "high"), rounded, strict=True))
    if step.growth is not None:
        entry["fit"] = {
            "exponent": round(step.growth.exponent, 3),
            "r2": round(step.growth.r2, 4),
            "off": round(step.growth.off, 3),
        }
    return entry


def advise_on(prints: pa.Table, kind: Hashes, specs: Sequence[HashSpec | None], sample: Sample, failed: int) -> Advice:
    """Args:
    prints: of the sample, with ``id`` and ``order``, and the hashes of the methods in the columns of ``kind``.
    kind: what they were made with.
    specs: the methods, as ``kind.columns`` has them; None for ready hashes.
    """
    methods = []
    for column, spec in zip(kind.columns, specs, strict=True):
        table = _of_method(prints, column)
        bits = 4 * (kind.size or 16) if spec is None else spec.bits
        name = f"hashes in {kind.config.hash_col}" if spec is None else spec.method
        steps = LADDER if spec is None or spec.near else (0,)
        thresholds = [round(step * (bits or 64) / 64) for step in steps]
        method = spec.method if spec is not None else kind.config.method
        found = [_decide(table, kind, method, threshold) for threshold in thresholds]
        shown = _pairs(table, found, thresholds)
        made = [
            _step(table, kind, method, threshold, decided, sample, shown.get(threshold, ()))
            for threshold, decided in zip(thresholds, found, strict=True)
            if decided is not None
        ]
        methods.append(Method(name, bits, tuple(made)))
        log.info("%s: %s", name, ", ".join(f"{one.dropped:,} within {one.threshold}" for one in made))
    return Advice(sample, len(prints), failed, tuple(methods))


def _of_method(prints: pa.Table, column: str) -> pa.Table:
    """The prints with this column as the one hash."""
    others = [name for name in prints.column_names if name.startswith("verify")]
    return prints.set_column(prints.column_names.index("imagehash"), "imagehash", prints.column(column)).drop_columns(
        others
    )


def _decide(table: pa.Table, kind: Hashes, method: str, threshold: int) -> AtOnce | None:
    config = replace(kind.config, method=method, threshold=threshold, verify=(), keep="first")
    return decide_at_once(table, replace(kind, config=config), None, Exclusions())


def _step(
    table: pa.Table,
    kind: Hashes,
    method: str,
    threshold: int,
    decided: AtOnce,
    sample: Sample,
    pairs: Sequence[Pair],
) -> Step:
    dropped, rows = len(decided.dropped), len(table)
    if sample.bands is not None:
        return Step(threshold, dropped, _by_bands(table, decided, sample.bands), None, tuple(pairs))
    if rows >= sample.rows:
        return Step(threshold, dropped, None, None, tuple(pairs))

    def count(some: np.ndarray) -> int:
        found = _decide(table.take(pa.array(some)), kind, method, threshold)
        return 0 if found is None else len(found.dropped)

    growth = fit_growth(*_nested(rows, dropped, count))
    forecast = None if growth is None else _forecast(growth, dropped / rows, sample.rows)
    return Step(threshold, dropped, forecast, growth, tuple(pairs))


def _forecast(growth: Growth, share: float, rows: int) -> Forecast:
    """What the law says, as far as it can hold: the share of rows that go grows with the rows, but not beyond all of
    them, so that a power law must bend before."""
    expected, low, high = growth.at(rows)
    if expected > rows / 2:
        return None, share * rows, rows - 1.0
    return expected, low, min(high, rows - 1.0)


def _nested(rows: int, dropped: int, count: Callable[[np.ndarray], int]) -> tuple[list[int], list[list[int]]]:
    """Sizes of nested samples, and what is dropped of each; always the same samples."""
    mixed = np.random.default_rng(0).permutation(rows)
    sizes, counts = [rows], [[dropped]]
    for level in range(1, _LEVELS):
        parts = [np.sort(mixed[part :: 1 << level]) for part in range(_PARTS)]
        sizes.append(len(parts[0]))
        counts.append([count(part) for part in parts])
    return sizes, counts


def _by_bands(table: pa.Table, decided: AtOnce, share: float) -> Forecast:
    """Rows of the whole that would go, by Horvitz and Thompson: each counts as one over the probability that
    it and its keeper are in the sample: that a band which they have in common is chosen, or else one of the others of
    each of them."""
    values = table.column("imagehash").take(_places(table, decided, ORDER)).to_pylist()
    others = table.column("imagehash").take(_places(table, decided, "kept_order")).to_pylist()
    shared = np.array([shared_bands(one, other) for one, other in zip(values, others, strict=True)], float)
    out = (1 - share) ** shared
    weights = 1 / (1 - out + out * (1 - (1 - share) ** (BANDS - shared)) ** 2)
    total = float(weights.sum())
    error = 1.96 * float(np.sqrt((weights * (weights - 1)).sum()))
    return total, max(float(len(weights)), total - error), total + error


def _places(table: pa.Table, decided: AtOnce, column: str) -> pa.Array:
    return pc.index_in(decided.dropped.column(column), value_set=table.column(ORDER))


def _pairs(
    table: pa.Table, found: Sequence[AtOnce | None], thresholds: Sequence[int]
) -> Mapping[int, tuple[Pair, ...]]:
    """Some pairs of rows for each threshold, farther apart than the one before allows."""
    widest = next((one for one in reversed(found) if one is not None), None)
    if widest is None:
        return {}
    distances = widest.dropped.column("distance").to_numpy()
    rows = [np.asarray(_places(table, widest, name)) for name in (ORDER, "kept_order")]
    shown = {}
    for low, high in zip((-1, *thresholds), thresholds, strict=False):
        here = np.flatnonzero((distances > low) & (distances <= high))
        some = here[np.linspace(0, len(here) - 1, min(SHOWN, len(here))).astype(int)]
        shown[high] = tuple(_pair(table, rows[0][one], rows[1][one], distances[one]) for one in some)
    return shown


def _pair(table: pa.Table, row: int, kept: int, distance: float) -> Pair:
    one, other = _row(table, int(row)), _row(table, int(kept))
    return Pair(other, replace(one, distance=float(distance)), float(distance))


def _row(table: pa.Table, place: int) -> Row:
    facts = {name: table.column(name)[place].as_py() for name in ("width", "height", "bytes", "quality")}
    return Row(str(table.column("id")[place].as_py()), place, facts)


def advice_text(advice: Advice) -> str:
    """As lines of text."""
    return "\n".join(_lines(advice))


def _lines(advice: Advice) -> Iterator[str]:
    about = "" if advice.sample.exact else "about "
    yield f"{advice.compared:,} of {about}{advice.sample.rows:,} rows. {advice.sample.how}"
    for method in advice.methods:
        yield ""
        yield f"{method.name}" + (f", {method.bits} bits" if method.bits else "")
        for step in method.steps:
            share = f"{step.dropped / advice.compared:.2%}" if advice.compared else "-"
            yield f"  within {step.threshold:>3}: {step.dropped:>9,} dropped ({share}){_forecast_text(step)}"


def _forecast_text(step: Step) -> str:
    if step.forecast is None:
        return ""
    middle, low, high = step.forecast
    said = (
        f"; of all about {round(middle):,} ({round(low):,} to {round(high):,})"
        if middle is not None
        else (f"; of all at least {round(low):,}, for the law leads beyond half of them and must bend before")
    )
    if step.growth is not None:
        said += f", growing as rows^{step.growth.exponent:.2f}, R² {step.growth.r2:.3f}"
    return said
