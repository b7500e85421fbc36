"""The command line and YAML files, read into a `JobConfig`. A flag wins over the file."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from imgdedup_spark import __version__
from imgdedup_spark.config.dedup import STAGE_OPTIONS, DedupConfig
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.config.values import flag
from imgdedup_spark.errors import UserError


def read_options(arguments: Sequence[str], *, fingerprint: bool = False) -> JobConfig:
    """Args:
        fingerprint: for the job that makes an index and has no other output.

    Raises:
        UserError: an unknown option, a value of the wrong kind, or options that do not go together.
    """
    given = vars(_parser().parse_args(list(arguments)))
    file = given.pop("config", None)
    values = {**(_read_yaml(file) if file else {}), **given}
    config = _build(values)
    config.check(fingerprint=fingerprint)
    return config


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (imgdedup --help lists the options)")


def _option_fields() -> list[dataclasses.Field[Any]]:
    return [item for item in (*dataclasses.fields(JobConfig), *dataclasses.fields(DedupConfig)) if item.metadata]


def _types() -> dict[str, Any]:
    hints = {**typing.get_type_hints(JobConfig), **typing.get_type_hints(DedupConfig)}
    return {name: _scalar(hint) for name, hint in hints.items()}


def _scalar(hint: Any) -> Any:
    """``tuple[str, ...]`` → str, ``str | None`` → str, ``Literal["a"]`` → str, ``int`` → int."""
    if typing.get_origin(hint) is typing.Literal:
        return str
    arguments = [one for one in typing.get_args(hint) if one not in (type(None), Ellipsis)]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is tuple:
        return arguments[0]
    return hint


def _parser() -> _Parser:
    parser = _Parser(
        prog="imgdedup",
        description="Keeps one row of each group of duplicate images, and says what was dropped and why.",
        # Options that were not given must not hide the YAML file's.
        argument_default=argparse.SUPPRESS,
        # `--over` for `--overwrite` would break the day `--overlay` is added.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"imgdedup-spark {__version__}")
    parser.add_argument("--config", metavar="FILE.yaml", help="the same options, dashes written as underscores")
    kinds = _types()
    for item in _option_fields():
        how = {key: value for key, value in item.metadata.items() if key != "help"}
        if how.get("action") != "store_true":
            how["type"] = kinds[item.name]
        shown = item.default not in (None, (), "", False, dataclasses.MISSING)
        text = item.metadata["help"] + (f" (default: {item.default})" if shown else "")
        parser.add_argument(flag(item.name), help=text.replace("%", "%%"), **how)
    return parser


def _read_yaml(file: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {file}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {file} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UserError(f"--config {file}: expected `option: value` lines, found a {type(content).__name__}")
    stages = content.get("stages")
    plain = {name: value for name, value in content.items() if name != "stages"}
    values = _read_mapping(plain, {item.name for item in _option_fields()}, f"--config {file}: ")
    return values if stages is None else {**values, "stages": _read_stages(stages, f"--config {file}: `stages`")}


def _read_stages(stages: Any, where: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(stages, list) or not all(isinstance(one, Mapping) for one in stages):
        raise UserError(f"{where} takes a list of `option: value` lines, one entry a stage")
    return tuple(
        _one_or_many(_read_mapping(one, set(STAGE_OPTIONS), f"{where}, entry {number}: "))
        for number, one in enumerate(stages, 1)
    )


def _read_mapping(content: Mapping[Any, Any], known: set[str], where: str) -> dict[str, Any]:
    kinds = _types()
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise UserError(f"{where}there is no option `{name}`{hint}")
        values[name] = _convert(value, kinds[name], f"{where}`{name}`")
    return values


def _convert(value: Any, kind: Any, where: str) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(_convert(one, kind, where) for one in value)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not fits:
        raise UserError(f"{where} takes a value of type {kind.__name__}, not {value!r}")
    return value


def _one_or_many(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given, repeatable ones as tuples.

    Raises:
        UserError: a list for an option that takes one value.
    """
    values = {name: value for name, value in values.items() if value is not None}
    repeated = {
        item.name for item in _option_fields() if item.metadata.get("nargs") or item.metadata.get("action") == "append"
    }
    for name in repeated & values.keys():
        value = values[name]
        values[name] = (value,) if isinstance(value, str) else tuple(value)
    for name, value in values.items():
        if name not in repeated and isinstance(value, tuple):
            raise UserError(f"{flag(name)} takes one value, not a list")
    return values


def _build(values: Mapping[str, Any]) -> JobConfig:
    stages = values.get("stages", ())
    values = _one_or_many({name: value for name, value in values.items() if name != "stages"})
    mine = {item.name for item in dataclasses.fields(DedupConfig)}
    dedup = DedupConfig(**{name: value for name, value in values.items() if name in mine}, stages=stages)
    return JobConfig(**{name: value for name, value in values.items() if name not in mine}, dedup=dedup)
