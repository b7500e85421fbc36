"""``--keep``: terms over columns of any name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgdedup_spark.config.values import KeepTerm, parse_keep
from imgdedup_spark.errors import UserError


@pytest.mark.parametrize(
    ("rule", "terms"),
    [
        ("first", []),
        ("pixels desc, bytes desc, first", [("pixels", True), ("bytes", True)]),
        ("pixels DESC,bytes", [("pixels", True), ("bytes", False)]),
        ("  width   asc ", [("width", False)]),
        ("my column desc", [("my column", True)]),
        ("a.b", [("a.b", False)]),
        ("desc", [("desc", False)]),
        ("`desc` desc", [("desc", True)]),
        ("`first`, first", [("first", False)]),
        ("`a,b` desc", [("a,b", True)]),
        ("`a, b c`,`d`desc" + " asc", None),
        ("`a, b c` asc,n desc", [("a, b c", False), ("n", True)]),
        ("`it``s, so` desc, `````", None),
        ("`it``s, so` desc, ````", [("it`s, so", True), ("`", False)]),
        (" ` a ` ", [(" a ", False)]),
        ("`a desc`", [("a desc", False)]),
        ("``", None),
        ("`a", None),
        ("a`b", None),
        ("`a` up", None),
        ("", None),
        ("a,", None),
        (",a", None),
        ("a,,b", None),
    ],
)
def test_rules(rule, terms):
    if terms is None:
        with pytest.raises(UserError, match="a term is a column with asc or desc"):
            parse_keep(rule)
    else:
        assert parse_keep(rule) == tuple(KeepTerm(*one) for one in terms)


@pytest.mark.parametrize("rule", ["first, n", "n, first, first", "first,"])
def test_nothing_comes_after_first(rule):
    with pytest.raises(UserError, match="`first` decides every tie"):
        parse_keep(rule)


@given(st.lists(st.tuples(st.text(min_size=1), st.booleans()), min_size=1, max_size=4))
def test_any_column_can_be_quoted(terms):
    rule = ", ".join("`" + name.replace("`", "``") + "`" + (" desc" if down else "") for name, down in terms)
    assert parse_keep(rule) == tuple(KeepTerm(*one) for one in terms)
