"""How an option is declared: as a field of a section, with what the command line needs to know of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from imgdedup_spark.errors import UserError


def option(default: Any, help: str, **how: Any) -> Any:
    """A field that is also a command-line option; ``how`` goes to ``ArgumentParser.add_argument``."""
    return field(default=default, metadata={"help": help, **how})


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Section:
    """Options that belong together.

    The options of a run inherit from all its sections, so that code that needs one of them can ask for that one.
    """

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(item.default, tuple):
                # From Python and from YAML, `"flip"` and `["flip"]` mean the same as `("flip",)`.
                value = (value,) if isinstance(value, str | Mapping) else tuple(value or ())
                object.__setattr__(self, item.name, value)

    def check(self) -> None:
        """Checks the section's own options; each section does, and calls ``super().check()`` first.

        Raises:
            UserError: one of them has a value that it cannot have.
        """
        for item in dataclasses.fields(self):
            choices, value = item.metadata.get("choices"), getattr(self, item.name)
            for one in value if isinstance(value, tuple) else (value,):
                if choices and one not in (*choices, item.default):
                    raise UserError(f"{flag(item.name)} is one of {', '.join(choices)}, not {one!r}")

    def changed(self, names: Container[str]) -> list[str]:
        """The flags of those of these options that do not have their default value."""
        return [
            flag(item.name)
            for item in dataclasses.fields(self)
            if item.name in names and getattr(self, item.name) != self.default_of(item)
        ]

    def default_of(self, item: dataclasses.Field[Any]) -> Any:
        """What an option is that nobody gives."""
        return item.default

    def check_least(self, least: int, *names: str) -> None:
        """Raises:
        UserError: one of these options is below ``least``.
        """
        for name in names:
            if getattr(self, name) < least:
                raise UserError(f"{flag(name)} is {least} or more, not {getattr(self, name)}")


def whole_number(text: str) -> int:
    """``"1000"``, ``"1_000"`` or ``"1e3"`` → 1000.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def yes_or_no(text: str) -> bool:
    """Raises:
    ValueError: it is neither, in any of YAML's words.
    """
    word = text.lower()
    if word not in ("true", "yes", "on", "false", "no", "off"):
        raise ValueError(text)
    return word in ("true", "yes", "on")


#: Text → a value of an option's type, the same for the command line and for YAML.
READERS: dict[type, Callable[[str], Any]] = {str: str, int: whole_number, float: float, bool: yes_or_no}
