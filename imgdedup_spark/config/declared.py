"""The options as a table, made of the sections' fields: what the command line, YAML files and messages need."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgdedup_spark.config.job import SECTIONS


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        section: the title of the group it belongs to.
        kind: the type of its value; of each of its values, if it takes several.
        how: ``help`` and whatever else ``ArgumentParser.add_argument`` takes.
    """

    name: str
    section: str
    kind: type
    default: Any
    how: Mapping[str, Any]

    @property
    def takes_many(self) -> bool:
        return isinstance(self.default, tuple)


def _scalar(hint: Any) -> type:
    """``tuple[str, ...]`` → str, ``str | None`` → str, ``Literal["a"]`` → str, ``int`` → int."""
    if typing.get_origin(hint) is typing.Literal:
        return str
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is tuple:
        return next(one for one in typing.get_args(hint) if one is not types.NoneType)
    return hint


#: By name, in the order of the flow.
OPTIONS = {
    item.name: Option(item.name, title, _scalar(typing.get_type_hints(section)[item.name]), item.default, item.metadata)
    for title, sections in SECTIONS.items()
    for section in sections
    for item in dataclasses.fields(section)
}
