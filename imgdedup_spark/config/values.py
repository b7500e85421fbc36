"""Values of options that have a form of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels import hashes
from imgdedup_spark.kernels.hashes import METHODS, HashSpec

#: Of ``--verify METHOD``. A copy in grey is 16 bits from its original, opposite colors 32 (docs/quality.md).
_THRESHOLDS = {"color": 20}


@dataclass(frozen=True)
class KeepTerm:
    """One term of ``--keep``: a column and its direction."""

    column: str
    descending: bool


@dataclass(frozen=True)
class VerifySpec:
    """One ``--verify METHOD:SIZE:T``: a second hash that must be within ``threshold`` bits too. What has no size needs
    none, and ``color`` no threshold."""

    spec: HashSpec
    threshold: int

    @classmethod
    def parse(cls, text: str) -> VerifySpec:
        method, *numbers = text.split(":")
        if method in METHODS and not HashSpec(method).about.sized and len(numbers) < 2:
            numbers = [str(HashSpec.size), *(numbers or [str(_THRESHOLDS.get(method, ""))])]
        if len(numbers) != 2 or not all(re.fullmatch(r"[0-9]+", one) for one in numbers):
            raise UserError(
                f"--verify takes METHOD:SIZE:T, for example phash:16:31, or METHOD:T where there is no size, "
                f"for example color:{_THRESHOLDS['color']}, not {text!r}"
            )
        verify = cls(HashSpec(method, int(numbers[0])), int(numbers[1]))
        hashes.validate(verify.spec)
        check_threshold(verify.spec, verify.threshold, f"--verify {text}")
        return verify


def check_threshold(spec: HashSpec, threshold: int, option_name: str) -> None:
    """Raises:
    UserError: the threshold, of 0 or more bits, makes no sense for this hash.
    """
    if threshold == 0:
        return
    if not spec.near or spec.bits is None:
        raise UserError(
            f"{option_name}: distances between {spec.method} hashes mean nothing, so only equal ones can be "
            "found; use threshold 0 or a method such as phash"
        )
    if threshold > spec.bits:
        raise UserError(f"{option_name}: threshold {threshold} is larger than the hash, which has {spec.bits} bits")


#: Commas between terms: an even number of backticks follows those that are not within a quoted column.
_BETWEEN = re.compile(r",(?=(?:[^`]*`[^`]*`)*[^`]*$)")
_TERM = re.compile(r"(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>[^`]+?))(?:\s+(?P<direction>asc|desc))?", re.IGNORECASE)


def parse_keep(rule: str) -> tuple[KeepTerm, ...]:
    """``"pixels desc, first"`` → its terms; ``first`` closes the rule and may be left out.

    A column between backticks may have any name, commas included; two backticks there stand for one.

    Raises:
        UserError: a term is not ``column``, ``column asc`` or ``column desc``, or comes after ``first``.
    """
    terms: list[KeepTerm] = []
    words = [term.strip() for term in _BETWEEN.split(rule)]
    for index, term in enumerate(words):
        if term == "first":
            if index != len(words) - 1:
                raise UserError(f"--keep {rule!r}: `first` decides every tie, so nothing can come after it")
            break
        match = _TERM.fullmatch(term)
        if not match:
            raise UserError(f'--keep {rule!r}: a term is a column with asc or desc, as in "pixels desc, first"')
        column = match["plain"] or match["quoted"].replace("``", "`")
        terms.append(KeepTerm(column, (match["direction"] or "asc").lower() == "desc"))
    return tuple(terms)
