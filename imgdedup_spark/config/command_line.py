"""The command line, read into a `JobConfig`. A flag wins over the YAML file."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from imgdedup_spark import __version__
from imgdedup_spark.config.declared import OPTIONS, Option
from imgdedup_spark.config.dedup import DedupConfig
from imgdedup_spark.config.job import NOT_FOR_FINGERPRINTS, SECTIONS, JobConfig
from imgdedup_spark.config.options import READERS, flag
from imgdedup_spark.errors import UserError

#: What ``imgdedup`` does besides the job, each in a module of ``commands``.
COMMANDS = ("advise", "apply", "evaluate", "explain", "leaks")


def read_options(arguments: Sequence[str], *, fingerprint: bool = False) -> JobConfig:
    """Args:
        fingerprint: for the job that makes an index and has no other output.

    Raises:
        UserError: an unknown option, a value of the wrong kind, or options that do not go together.
    """
    given = vars(_parser(fingerprint=fingerprint).parse_args(list(arguments)))
    file = given.pop("config", None)
    config = _build({**_of_file(file), **given})
    config.check(fingerprint=fingerprint)
    return config


def read_command(
    name: str, description: str, add: Callable[[Parser], None], arguments: Sequence[str], unused: Collection[str]
) -> tuple[JobConfig, dict[str, Any]]:
    """The options of a command that takes most of the job's, and some of its own.

    Args:
        add: adds its own to the parser.
        unused: fields of `JobConfig` and `DedupConfig` that it has no use for.

    Raises:
        UserError: as ``read_options``.
    """
    parser = _new_parser(f"imgdedup {name}", description)
    add(parser)
    own = {action.dest for action in parser._actions}
    _add_options(parser, unused, own)
    given = vars(parser.parse_args(list(arguments)))
    mine = {one: given.pop(one) for one in own & given.keys()}
    file = given.pop("config", None)
    config = _build({**_of_file(file), **given})
    alien = [*config.changed(unused), *config.dedup.changed(unused)]
    if alien:
        raise UserError(f"{alien[0]} is an option of the job, and imgdedup {name} has no use for it: leave it out")
    config.dedup.check()
    return config, mine


def _of_file(file: str | None) -> dict[str, Any]:
    if not file:
        return {}
    from imgdedup_spark.config.yaml_file import read_yaml  # which takes a while to load

    return read_yaml(file)


class Parser(argparse.ArgumentParser):
    """Raises a UserError where `argparse` prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help lists the options)")


def _parser(*, fingerprint: bool) -> Parser:
    if fingerprint:
        parser = _new_parser("imgdedup-fingerprint", "Adds all rows of a data set to an index, duplicates and all.")
    else:
        parser = _new_parser(
            "imgdedup", "Keeps one row of each group of duplicate images, and says what was dropped and why."
        )
        parser.epilog = f"Other commands, each with a --help: {', '.join(f'imgdedup {one}' for one in COMMANDS)}."
    _add_options(parser, NOT_FOR_FINGERPRINTS if fingerprint else ())
    return parser


def _new_parser(name: str, description: str) -> Parser:
    parser = Parser(
        prog=name,
        description=description,
        # Options that were not given must not hide the YAML file's.
        argument_default=argparse.SUPPRESS,
        # `--over` for `--overwrite` would break the day `--overlay` is added.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"imgdedup-spark {__version__}")
    return parser


def _add_options(parser: Parser, unused: Collection[str], own: Collection[str] = ()) -> None:
    """Adds the job's options.

    Args:
        unused: those that are no use: not in the help.
        own: those in whose place the parser has its own.
    """
    parser.add_argument("--config", metavar="FILE.yaml", help="the same options, dashes written as underscores")
    groups = {title: parser.add_argument_group(title) for title in SECTIONS}
    for option in (one for name, one in OPTIONS.items() if name not in own):
        how = {**option.how, "help": _help(option)}
        if option.name in unused:
            # Understood all the same, so that the answer can say why not.
            how["help"] = argparse.SUPPRESS
        if option.kind is not bool:
            how["type"] = READERS[option.kind]
        groups[option.section].add_argument(flag(option.name), **how)


def _help(option: Option) -> str:
    shown = f" (default: {option.default})" if option.default else ""
    return (option.how["help"] + shown).replace("%", "%%")


def _build(values: Mapping[str, Any]) -> JobConfig:
    mine = {item.name for item in dataclasses.fields(DedupConfig)}
    dedup = DedupConfig(**{name: value for name, value in values.items() if name in mine})
    return JobConfig(**{name: value for name, value in values.items() if name not in mine}, dedup=dedup)
