"""YAML files with options. Text stays text until the option's own type says what it is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from imgdedup_spark.config.declared import OPTIONS, Option
from imgdedup_spark.config.dedup import STAGE_OPTIONS
from imgdedup_spark.config.options import READERS
from imgdedup_spark.errors import UserError

_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Makes text, None, lists and mappings, and nothing else: YAML's own rules would make `0021` 17, `no` False and
    `2024-01-01` a date, of which no option could tell any more what was written."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag == _NULL or tag.rpartition(":")[2] in ("str", "seq", "map")
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"`{key.value}` is there twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def read_yaml(file: str) -> dict[str, Any]:
    """The options that the file gives, each of its declared type; ``stages`` as mappings.

    Raises:
        UserError: the file cannot be read, or an option in it is unknown or has a value of the wrong kind.
    """
    where = f"--config {file}"
    content = _load(file, where)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected `option: value` lines, found {_said(content)}")
    stages = content.pop("stages", None)
    values = _read_mapping(content, OPTIONS, f"{where}: ")
    return values if stages is None else {**values, "stages": _read_stages(stages, f"{where}: `stages`")}


def _load(file: str, where: str) -> Any:
    try:
        return yaml.load(Path(file).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{where}: {error.strerror or error}") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{where} is not valid YAML: {line}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None


def _read_stages(stages: Any, where: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(stages, list) or not all(isinstance(one, dict) for one in stages):
        raise UserError(f"{where} takes a list of `option: value` lines, one entry a stage")
    return tuple(
        _read_mapping(one, STAGE_OPTIONS, f"{where}, entry {number}: ") for number, one in enumerate(stages, 1)
    )


def _read_mapping(content: Mapping[Any, Any], known: Collection[str], where: str) -> dict[str, Any]:
    for name in content:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise UserError(f"{where}there is no option `{name}`{hint}")
    return {
        name: _read_value(OPTIONS[name], value, f"{where}`{name}`")
        for name, value in content.items()
        # `id_col:` and `id_col: null` are options that are not given.
        if value is not None
    }


def _read_value(option: Option, value: Any, where: str) -> Any:
    if isinstance(value, list):
        if not option.takes_many:
            raise UserError(f"{where} takes one value, not a list")
        return tuple(_read_one(option, one, where) for one in value)
    read = _read_one(option, value, where)
    return (read,) if option.takes_many else read


def _read_one(option: Option, value: Any, where: str) -> Any:
    try:
        if not isinstance(value, str):
            raise ValueError
        read = READERS[option.kind](value)
    except ValueError:
        raise UserError(f"{where} takes a value of type {option.kind.__name__}, not {_said(value)}") from None
    choices = option.how.get("choices")
    if choices and read not in choices:
        raise UserError(f"{where} is one of {', '.join(choices)}, not {_said(value)}")
    return read


def _said(value: Any) -> str:
    """What was found. Only text is shown: with anchors a few lines make lists of any size."""
    names = {type(None): "nothing", list: "a list", dict: "a mapping"}
    return names.get(type(value)) or repr(value)
