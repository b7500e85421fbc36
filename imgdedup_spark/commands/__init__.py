"""What ``imgdedup`` does besides the job: a command a module, each with ``run(arguments, session)``, which
returns the exit status."""

from __future__ import annotations

from argparse import _ArgumentGroup
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeAlias

from imgdedup_spark.config.job import JobConfig
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.report.answer import Answer
from imgdedup_spark.report.outcome import Outcome, read_outcome

#: Options of the job that commands have no use for which read rows and keep none.
OF_THE_JOB_ALONE = (
    "output_format", "output_table", "mark", "dry_run", "report", "metrics", "show_num", "emit_hashes", "keep", "never",
    "index", "index_single_writer", "against", "run_id", "stages",
)  # fmt: skip

#: ``with session(config) as spark:`` gives Spark, and has whatever goes wrong in the block told in one line.
SessionOf: TypeAlias = Callable[[JobConfig], AbstractContextManager[Any]]


def add_answer(options: _ArgumentGroup, page: str, notes: str) -> None:
    """Adds the options that say where the answer goes.

    Args:
        page: the file of the page unless another is named.
        notes: what the other file has, for people.
    """
    options.add_argument("--html", default=page, metavar="FILE", help=f"the page (default: {page})")
    options.add_argument("--json", default=None, metavar="FILE", help=f"{notes} (default: beside the page)")


def answer_of(given: Mapping[str, Any]) -> Answer:
    """Where the options of ``add_answer`` say that it goes."""
    page = given["html"]
    notes = given["json"] or page.removesuffix(".html") + ".json"
    return Answer(storage.absolute(page), storage.absolute(notes))


@contextmanager
def outcome_of(folder: str, session: SessionOf) -> Iterator[Outcome]:
    """What a run has written; by way of Spark, with its keys, where this process alone cannot read it.

    Raises:
        UserError: there is no finished run.
    """
    try:
        found = read_outcome(folder)
    except UserError:
        if storage.is_local(folder):
            raise
    else:
        yield found
        return
    from imgdedup_spark.spark.stores import open_more, open_stores

    with session(JobConfig(output=folder)) as spark:
        open_stores(spark, [("--output", folder)])
        found = read_outcome(folder)
        with suppress(UserError):  # of its pictures, which are shown if they can be
            open_more(spark, [("--input", one) for one in found.config.get("input") or ()])
        yield found
