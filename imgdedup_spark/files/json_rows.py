"""Rows of JSON as columns of one type each, whatever the files, their parts and the order in which they are looked at.

The types of JSON's values form a lattice, and a column's is the least that holds all of its values: nothing < boolean,
int64 < double, string, list, struct < *any*, which is a string: what is none is written as JSON there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from imgdedup_spark.errors import UserError, first_line

#: Values that have no type in common: strings as they are, others as JSON.
ANY = pa.large_string()
_LONGS = range(-(2**63), 2**63)
#: Lists and objects in each other that have a type; what lies deeper is ``ANY``.
_DEEPEST = 32


def parse_row(text: bytes) -> dict[str, Any] | str:
    """The object that a row's text is; or what it is instead, for people."""
    try:
        row = _DECODER.decode(text.decode("utf-8").rstrip())
        if b"\\ud" in text or b"\\uD" in text:
            # Half of a surrogate pair, which JSON can spell and no other text holds.
            row = json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at character {error.pos}"
    except _TwiceError as error:
        return f"the key {json.dumps(str(error)[:80], ensure_ascii=False)} twice in one object"
    except (ValueError, RecursionError) as error:
        return f"not read: {first_line(error)}"
    kinds = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return row if isinstance(row, dict) else f"no object but {kinds.get(type(row), 'a number')}"


class _TwiceError(Exception):
    """A key that an object has twice: readers of JSON differ in which of its values they take."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _TwiceError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


@dataclass
class Fields:
    """The columns of some rows.

    Attributes:
        kinds: the type of each field, in order of appearance.
        together: fields of one row that differ by case alone.
    """

    kinds: dict[str, pa.DataType] = field(default_factory=dict)
    together: set[tuple[str, str]] = field(default_factory=set)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Looks at more rows."""
        for name in dict.fromkeys(name for row in rows for name in row):
            kind = _kind_of([row[name] for row in rows if name in row])
            self.kinds[name] = _join(self.kinds.get(name, pa.null()), kind)
        for spelled in _spellings(self.kinds).values():
            if len(spelled) > 1:
                found = (sorted(name for name in spelled if name in row) for row in rows)
                self.together |= {(here[0], here[1]) for here in found if len(here) > 1}

    def join(self, other: Fields) -> None:
        """Looks at rows that others have looked at."""
        for name, kind in other.kinds.items():
            self.kinds[name] = _join(self.kinds.get(name, pa.null()), kind)
        self.together |= other.together

    def columns(self, *, by_case: bool) -> Columns:
        """One column for each name.

        Args:
            by_case: whether names that differ by case alone are different.

        Raises:
            UserError: they are not, and a row has both.
        """
        if self.together and not by_case:
            one, other = min(self.together)
            raise UserError(
                f"--input: rows have a field `{one}` and a field `{other}`, which are one name to Spark: rename one, "
                "or set spark.sql.caseSensitive=true"
            )
        spellings = {name: [name] for name in self.kinds} if by_case else _spellings(self.kinds)
        made = Columns({}, {})
        for spelled in spellings.values():
            kind = pa.null()
            for name in spelled:
                kind = _join(kind, self.kinds[name])
            made.kinds[spelled[0]], made.spellings[spelled[0]] = _usable(kind), tuple(spelled)
        return made


@dataclass(frozen=True)
class Columns:
    """The columns to make of rows.

    Attributes:
        kinds: by name; of types that Spark has, and ``ANY``.
        spellings: the fields that go into each.
    """

    kinds: dict[str, pa.DataType]
    spellings: dict[str, tuple[str, ...]]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, _plain(kind)) for name, kind in self.kinds.items()])

    def only(self, names: Collection[str]) -> Columns:
        return Columns({name: kind for name, kind in self.kinds.items() if name in names}, self.spellings)

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> list[pa.Array]:
        """The rows' values, as ``schema`` has them."""
        return [self._array(self.spellings[name], kind, rows) for name, kind in self.kinds.items()]

    def _array(self, spelled: tuple[str, ...], kind: pa.DataType, rows: Sequence[Mapping[str, Any]]) -> pa.Array:
        values = [row.get(spelled[0]) for row in rows]
        for other in spelled[1:]:
            values = [row.get(other) if value is None else value for row, value in zip(rows, values, strict=True)]
        plain = _plain(kind)
        if plain.equals(kind):
            try:
                return pa.array(values, plain)
            except pa.ArrowInvalid:
                pass  # a whole number that a float holds only about
        return pa.array([_as_kind(value, kind) for value in values], plain)


def _spellings(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.lower(), []).append(name)
    return found


def _kind_of(values: Sequence[Any], depth: int = 0) -> pa.DataType:
    classes = {type(value) for value in values} - {type(None)}
    if not classes:
        return pa.null()
    if classes == {dict} and depth < _DEEPEST:
        inner: dict[str, list[Any]] = {}
        for value in values:
            for name, one in (value or {}).items():
                inner.setdefault(name, []).append(one)
        return pa.struct([(name, _kind_of(inner[name], depth + 1)) for name in sorted(inner)])
    if classes == {list} and depth < _DEEPEST:
        return pa.list_(_kind_of([one for value in values for one in value or ()], depth + 1))
    if classes in ({str}, {bool}):
        return pa.string() if classes == {str} else pa.bool_()
    if classes <= {int, float} and all(value in _LONGS for value in values if type(value) is int):
        return pa.float64() if float in classes else pa.int64()
    return ANY


def _join(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_join(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        inner = {item.name: item.type for item in one}
        for item in other:
            inner[item.name] = _join(inner.get(item.name, pa.null()), item.type)
        return pa.struct([(name, inner[name]) for name in sorted(inner)])
    return ANY


def _usable(kind: pa.DataType) -> pa.DataType:
    """Spark has no struct without fields, and writes no column without a type."""
    if pa.types.is_list(kind):
        return pa.list_(_usable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(item.name, _usable(item.type)) for item in kind]) if kind.num_fields else ANY
    return pa.string() if pa.types.is_null(kind) else kind


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(item.name, _plain(item.type)) for item in kind])
    return pa.string() if kind.equals(ANY) else kind


def _as_kind(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if kind.equals(ANY):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if pa.types.is_list(kind):
        return [_as_kind(one, kind.value_type) for one in value]
    if pa.types.is_struct(kind):
        return {item.name: _as_kind(value.get(item.name), item.type) for item in kind}
    return float(value) if pa.types.is_floating(kind) else value
