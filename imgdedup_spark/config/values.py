"""Values of options that have a form of their own, and how an option is declared."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels import hashes
from imgdedup_spark.kernels.hashes import HashSpec


def option(default: Any, help: str, **how: Any) -> Any:
    """A field that is also a command-line option; ``how`` goes to ``ArgumentParser.add_argument``."""
    metadata = {"help": help, **how}
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class KeepTerm:
    """One term of ``--keep``: a column and its direction."""

    column: str
    descending: bool


@dataclass(frozen=True)
class VerifySpec:
    """One ``--verify METHOD:SIZE:T``: a second hash that must be within ``threshold`` bits too."""

    spec: HashSpec
    threshold: int

    @classmethod
    def parse(cls, text: str) -> VerifySpec:
        match = re.fullmatch(r"(\w+):(\d+):(\d+)", text)
        if not match:
            raise UserError(f"--verify takes METHOD:SIZE:T, for example phash:16:31, not {text!r}")
        verify = cls(HashSpec(match[1], int(match[2])), int(match[3]))
        hashes.validate(verify.spec)
        check_threshold(verify.spec, verify.threshold, f"--verify {text}")
        return verify


def check_threshold(spec: HashSpec, threshold: int, option_name: str) -> None:
    """Raises:
    UserError: the threshold makes no sense for this hash.
    """
    if threshold < 0:
        raise UserError(f"{option_name}: a threshold is 0 or more bits, not {threshold}")
    if threshold == 0:
        return
    if not spec.near or spec.bits is None:
        raise UserError(
            f"{option_name}: distances between {spec.method} hashes mean nothing, so only equal ones can be "
            "found; use threshold 0 or a method such as phash"
        )
    if threshold > spec.bits:
        raise UserError(f"{option_name}: threshold {threshold} is larger than the hash, which has {spec.bits} bits")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def parse_keep(rule: str) -> tuple[KeepTerm, ...]:
    """``"pixels desc, first"`` → its terms; ``first`` closes the rule and may be left out.

    Raises:
        UserError: a term is not ``column``, ``column asc`` or ``column desc``, or comes after ``first``.
    """
    terms: list[KeepTerm] = []
    words = [term.strip() for term in rule.split(",")]
    for index, term in enumerate(words):
        if term == "first":
            if index != len(words) - 1:
                raise UserError(f"--keep {rule!r}: `first` decides every tie, so nothing can come after it")
            break
        match = re.fullmatch(r"(.+?)(?:\s+(asc|desc))?", term, flags=re.IGNORECASE)
        if not match:
            raise UserError(f'--keep {rule!r}: a term is a column with asc or desc, as in "pixels desc, first"')
        terms.append(KeepTerm(match[1].strip("`"), (match[2] or "asc").lower() == "desc"))
    return tuple(terms)
