"""Rows of JSON: what is one, and columns that depend on the rows alone."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgdedup_spark.errors import UserError
from imgdedup_spark.files.json_rows import ANY, Fields, parse_row

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
ROWS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "B", "c"]), VALUES, max_size=4), max_size=6)


def fields_of(rows):
    fields = Fields()
    fields.add(rows)
    return fields


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"a": 1', "not JSON: Expecting ',' delimiter at character 7"),
        (b'{"a": "x\n', "not JSON: Unterminated string starting at at character 6"),
        (b"not json", "not JSON: Expecting value at character 0"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b"3", "no object but a number"),
        (b'"x"', "no object but a string"),
        (b"null", "no object but null"),
        (b"[{}]", "no object but an array"),
        (b'{"a": 1, "b": {}, "a": 1}', 'the key "a" twice in one object'),
        (b'{"a": [{"b c": 1, "b c": 2}]}', 'the key "b c" twice in one object'),
        (b"[" * 100_000, "not read: maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_row(text, problem):
    assert str(parse_row(text)).startswith(problem)


def test_half_a_surrogate_pair_is_no_text():
    assert parse_row(b'{"a": "\\ud800x", "b": "\\ud83d\\ude00"}') == {"a": "?x", "b": "\U0001f600"}


@settings(deadline=None)
@given(ROWS, st.data())
def test_columns_do_not_depend_on_where_files_are_cut(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    whole, first = fields_of(rows), fields_of(rows[:cut])
    first.join(fields_of(rows[cut:]))
    assert first == whole
    made = whole.columns(by_case=True)
    arrays = made.arrays(rows)
    assert [one.type for one in arrays] == made.schema.types
    for name, array in zip(made.kinds, arrays, strict=True):
        if made.kinds[name].equals(ANY):
            values = [row.get(name) for row in rows]
            texts = [
                one if one is None or isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in values
            ]
            assert array.to_pylist() == texts


def test_types():
    one = {"n": 1, "l": [], "s": {"x": None}, "e": {}, "m": "t"}
    other = {"n": 2.5, "l": [[1]], "s": {"y": [2]}, "m": ["t", 1]}
    schema = fields_of([one, other]).columns(by_case=False).schema
    inner = pa.struct([("x", pa.string()), ("y", pa.list_(pa.int64()))])
    types = {"n": pa.float64(), "l": pa.list_(pa.list_(pa.int64())), "s": inner, "e": pa.string(), "m": pa.string()}
    assert dict(zip(schema.names, schema.types, strict=True)) == types


def test_names_that_differ_by_case():
    made = fields_of([{"image": "a"}, {"Image": "b"}]).columns(by_case=False)
    assert [one.to_pylist() for one in made.arrays([{"image": "a"}, {"Image": "b"}])] == [["a", "b"]]
    twins = fields_of([{"image": "a", "Image": "b"}])
    assert list(twins.columns(by_case=True).kinds) == ["image", "Image"]
    with pytest.raises(UserError, match="field `Image` and a field `image`"):
        twins.columns(by_case=False)
