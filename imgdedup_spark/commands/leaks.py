"""``imgdedup leaks --train PATH… --test PATH…``: which rows of each split are in which other."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from imgdedup_spark.commands import OF_THE_JOB_ALONE, SessionOf
from imgdedup_spark.config.command_line import Parser, read_command
from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage

#: With ``--fail-on-leak``, when a row of a test split is in the training split.
LEAKS_FOUND = 4
_UNUSED = (*OF_THE_JOB_ALONE, "input")
#: ``NAME=PATH``; with a slash before the sign it is a path.
_NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)


def run(arguments: Sequence[str], session: SessionOf) -> int:
    """Prints the matrix, and writes the pairs if an output is named.

    Raises:
        UserError: an option or the input is wrong.
        JobError: the job ran and failed.
    """
    job, given = read_command(
        "leaks", "Which rows of each split of a data set are in which other.", _add_options, arguments, _UNUSED
    )
    splits = _splits(given["train"], given["test"])
    if job.overwrite and not job.output:
        raise UserError("--overwrite replaces an output: it needs --output")
    summary = _run(splits, job, session, within=given["within"])
    from imgdedup_spark.report.overlaps import matrix_text

    print(matrix_text(summary))
    return LEAKS_FOUND if given["fail_on_leak"] and summary["leaked"] else 0


def _run(splits: dict[str, list[str]], job: JobConfig, session: SessionOf, *, within: bool) -> dict[str, Any]:
    with session(job) as spark:
        from imgdedup_spark.leaks import Task, run

        return run(spark, Task(splits, job, within))


def _add_options(parser: Parser) -> None:
    own = parser.add_argument_group("splits")
    own.add_argument(
        "--train", nargs="+", required=True, metavar="[NAME=]PATH",
        help="the training split: files, folders or globs (its name: that of the last folder)",
    )  # fmt: skip
    own.add_argument(
        "--test", nargs="+", action="append", required=True, metavar="[NAME=]PATH",
        help="another split; repeatable",
    )  # fmt: skip
    own.add_argument(
        "--fail-on-leak", action="store_true", default=False,
        help="exit status 4 if a row of a test split is in the training split",
    )  # fmt: skip
    own.add_argument(
        "--within", action=argparse.BooleanOptionalAction, default=True,
        help="count in each split what a deduplication of it alone would drop (default: on)",
    )  # fmt: skip


def _splits(train: list[str], tests: list[list[str]]) -> dict[str, list[str]]:
    """Name → paths, the training split first."""
    found: dict[str, list[str]] = {}
    for option, paths in (("--train", train), *(("--test", paths) for paths in tests)):
        named = _NAMED.fullmatch(paths[0])
        name = named[1] if named else _name_of(paths[0])
        if named:
            paths = [named[2], *paths[1:]]
        if name in found:
            raise UserError(f"{option} {paths[0]}: a split named {name} is there already; say {option} NAME=PATH")
        found[name] = paths
    return found


def _name_of(path: str) -> str:
    """A folder's name, or a file's without its ending; of a glob what it begins with, or the folder that it is in."""
    for part in reversed(storage.split_uri(path)[2].split("/")):
        fixed = re.split(r"[*?\[{]", part)[0]
        name = re.sub(r"(\.\w{1,8})+$", "", fixed) if fixed == part else fixed.rstrip("-_.")
        if name:
            return name
    return path
