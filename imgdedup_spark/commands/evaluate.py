"""``imgdedup evaluate --input PATH… --truth FILE``: recall and precision on rows of which is known what are copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from imgdedup_spark.commands import OF_THE_JOB_ALONE, SessionOf, add_answer, answer_of
from imgdedup_spark.config.command_line import Parser, read_command
from imgdedup_spark.errors import UserError

log = logging.getLogger("imgdedup")
_UNUSED = (*OF_THE_JOB_ALONE, "output")


def run(arguments: Sequence[str], session: SessionOf) -> int:
    """Prints the scores, and writes them as a page and as JSON.

    Raises:
        UserError: an option, the input or the truth is wrong.
        JobError: the job ran and failed.
    """
    job, given = read_command(
        "evaluate", "Recall and precision by threshold, on rows of which is known what are copies.", _add_options,
        arguments, _UNUSED,
    )  # fmt: skip
    if not job.input:
        raise UserError("--input is required: name at least one file, folder or glob")
    from imgdedup_spark.evaluate import Task
    from imgdedup_spark.evaluate import run as run_job

    task = Task(job, given["truth"], given["group_col"], answer_of(given))
    task.check()
    with session(job) as spark:
        summary = run_job(spark, task)
    from imgdedup_spark.report.evaluation import evaluation_text

    print(evaluation_text(summary))
    log.info("see %s", given["html"])
    return 0


def _add_options(parser: Parser) -> None:
    own = parser.add_argument_group("truth")
    own.add_argument(
        "--truth", default=None, metavar="FILE",
        help="pairs of ids that are copies, in columns a and b, and maybe a kind: CSV, JSON lines or Parquet",
    )  # fmt: skip
    own.add_argument("--group-col", default=None, metavar="NAME", help="a column that is equal in copies")
    add_answer(own, "evaluation.html", "the scores")
