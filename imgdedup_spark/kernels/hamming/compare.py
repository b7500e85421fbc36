"""Comparing packed hashes: the vector instruction under the search, and what else Numba compiles for it.

Nothing here knows about bands or Spark. (Who changes this file must clear ``__pycache__``: Numba's
cache for the modules that use it looks at their own files alone.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.ir as ir
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from imgdedup_spark.compiled import compiled
from imgdedup_spark.kernels.barred import Barred
from imgdedup_spark.kernels.hamming.bands import Words

Rows = npt.NDArray[np.int32]
Spans = npt.NDArray[np.int64]
# Codes compared by one vector operation: 8 of 64 bits fill an AVX-512 register.
LANES = 8


@intrinsic
def popcount(typing_context: Any, word: Any) -> Any:
    """Set bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """The number of the lowest set bit of an int64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def _within(words: int) -> Any:
    """Builds the inner instruction of the search: ``within(codes, i, x0, x1, x2, x3, threshold)``.

    It compares the codes ``i .. i + LANES - 1`` (word w of them in ``codes[w]``) with the code of words ``x0`` …, and
    returns a bit for each that is within the threshold. It is written as one LLVM vector operation because loops as
    short as the runs of a good plan (some dozens of codes) spend most of their time in what a vectoriser leaves over.
    LLVM turns it into the widest instructions the CPU has, with or without AVX-512. It takes the whole array, since
    views made in the loop would cost more (their reference counts are atomic) than the comparisons.
    """

    def within(typing_context: Any, codes: Any, i: Any, x0: Any, x1: Any, x2: Any, x3: Any, threshold: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(ir.IntType(64), LANES)
            counting = ir.FunctionType(vector, [vector])
            count = cgutils.get_or_insert_function(builder.module, counting, f"llvm.ctpop.v{LANES}i64")
            undefined = ir.Constant(vector, ir.Undefined)

            def spread(value: Any) -> Any:
                lane = builder.insert_element(undefined, value, ir.IntType(32)(0))
                return builder.shuffle_vector(lane, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None))

            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            columns = builder.extract_value(array.shape, 1)
            different = undefined
            for word in range(words):
                at = builder.add(arguments[1], builder.mul(columns, columns.type(word)))
                codes = builder.load(builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer()))
                codes.align = 8
                bits = builder.call(count, [builder.xor(codes, spread(arguments[2 + word]))])
                different = builder.add(different, bits) if word else bits
            flags = builder.icmp_unsigned("<=", different, spread(arguments[6]))
            return builder.zext(builder.bitcast(flags, ir.IntType(LANES)), ir.IntType(64))

        word = types.uint64
        return types.int64(codes, types.intp, word, word, word, word, types.int64), generate

    return intrinsic(within)


_within_1, _within_2, _within_4 = _within(1), _within(2), _within(4)


class Table(NamedTuple):
    """Hashes, and what it takes for two of them to match.

    Attributes:
        words: ``(n, width)`` uint64, one hash a row.
        spans: ``(parts, 4)``: a part's first word, end, threshold in bits, and whether it is reported.
        barred: pairs that never match, of the numbers in the last word of each row; if there are none, it has none.
    """

    words: Words
    spans: Spans
    barred: Barred


# Compiled loops take the arrays out of such tuples first: taking one out counts references, which is atomic and slow.
@compiled
def _different_bits(words: Words, spans: Spans, part: int, a: int, b: int) -> int:
    different = 0
    for w in range(spans[part, 0], spans[part, 1]):
        different += popcount(words[a, w] ^ words[b, w])
    return different


@compiled
def _is_barred(words: Words, barred: Barred, a: int, b: int) -> bool:
    last = words.shape[1] - 1
    one, other = np.int64(words[a, last]), np.int64(words[b, last])
    # 0 is no number: nearly all rows are in no pair.
    if one == 0 or other == 0:
        return False
    pair = (min(one, other) << 32) | max(one, other)
    at = np.searchsorted(barred, pair)
    return bool(at < barred.size and barred[at] == pair)


@compiled
def match(words: Words, spans: Spans, barred: Barred, a: int, b: int) -> bool:
    for part in range(spans.shape[0]):
        if _different_bits(words, spans, part, a, b) > spans[part, 2]:
            return False
    return barred.size == 0 or not _is_barred(words, barred, a, b)


@compiled
def distances(table: Table, rows: Rows, others: Rows) -> Rows:
    words, spans, _ = table
    out = np.zeros(rows.size, dtype=np.int32)
    for i in range(rows.size):
        for part in range(spans.shape[0]):
            if spans[part, 3]:
                out[i] = max(out[i], _different_bits(words, spans, part, rows[i], others[i]))
    return out


@compiled
def filter_words(codes: Words, i: int) -> tuple[Any, Any, Any, Any]:
    """The words of code ``i`` of ``(words, n)``, and zeros for those that are not there."""
    zero = np.uint64(0)
    words = codes.shape[0]
    return (
        codes[0, i] if words > 0 else zero,
        codes[1, i] if words > 1 else zero,
        codes[2, i] if words > 2 else zero,
        codes[3, i] if words > 3 else zero,
    )


@compiled
def first_passing(codes: Words, start: int, stop: int, x: tuple[Any, Any, Any, Any], threshold: int) -> int:
    """The first of the codes ``start .. stop - 1`` whose filter words are within the threshold of ``x``, or -1.

    All the time of a search goes into this loop. ``codes`` must have ``LANES`` columns more than are asked for, which
    are read but do not count.
    """
    words = codes.shape[0]
    if words == 0:
        return start if start < stop else -1
    i = start
    while i < stop:
        if words == 1:
            hits = _within_1(codes, i, x[0], x[1], x[2], x[3], threshold)
        elif words == 2:
            hits = _within_2(codes, i, x[0], x[1], x[2], x[3], threshold)
        else:
            hits = _within_4(codes, i, x[0], x[1], x[2], x[3], threshold)
        if hits != 0:
            first = i + _lowest_bit(hits)
            return first if first < stop else -1
        i += LANES
    return -1
