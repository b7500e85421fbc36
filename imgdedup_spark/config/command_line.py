"""The command line, read into a `JobConfig`. A flag wins over the YAML file."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from imgdedup_spark import __version__
from imgdedup_spark.config.declared import OPTIONS, Option
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import NOT_FOR_FINGERPRINTS, SECTIONS, JobConfig
from imgdedup_spark.config.options import READERS, flag
from imgdedup_spark.config.yaml_file import read_yaml
from imgdedup_spark.errors import UserError


def read_options(arguments: Sequence[str], *, fingerprint: bool = False) -> JobConfig:
    """Args:
        fingerprint: for the job that makes an index and has no other output.

    Raises:
        UserError: an unknown option, a value of the wrong kind, or options that do not go together.
    """
    given = vars(_parser(fingerprint=fingerprint).parse_args(list(arguments)))
    file = given.pop("config", None)
    config = _build({**(read_yaml(file) if file else {}), **given})
    config.check(fingerprint=fingerprint)
    return config


class Parser(argparse.ArgumentParser):
    """Raises a UserError where `argparse` prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help lists the options)")


def _parser(*, fingerprint: bool) -> Parser:
    parser = Parser(
        prog="imgdedup-fingerprint" if fingerprint else "imgdedup",
        description="Adds all rows of a data set to an index, duplicates and all."
        if fingerprint
        else "Keeps one row of each group of duplicate images, and says what was dropped and why.",
        # Options that were not given must not hide the YAML file's.
        argument_default=argparse.SUPPRESS,
        # `--over` for `--overwrite` would break the day `--overlay` is added.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"imgdedup-spark {__version__}")
    parser.add_argument("--config", metavar="FILE.yaml", help="the same options, dashes written as underscores")
    groups = {title: parser.add_argument_group(title) for title in SECTIONS}
    for option in OPTIONS.values():
        how = {**option.how, "help": _help(option)}
        if fingerprint and option.name in NOT_FOR_FINGERPRINTS:
            # Understood all the same, so that the answer can say why not.
            how["help"] = argparse.SUPPRESS
        if option.kind is not bool:
            how["type"] = READERS[option.kind]
        groups[option.section].add_argument(flag(option.name), **how)
    return parser


def _help(option: Option) -> str:
    shown = f" (default: {option.default})" if option.default else ""
    return (option.how["help"] + shown).replace("%", "%%")


def _build(values: Mapping[str, Any]) -> JobConfig:
    mine = {item.name for item in dataclasses.fields(DedupConfig)}
    dedup = DedupConfig(**{name: value for name, value in values.items() if name in mine})
    return JobConfig(**{name: value for name, value in values.items() if name not in mine}, dedup=dedup)
