"""``imgdedup advise --input PATH…``: what each threshold of some methods would drop of a sample."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from imgdedup_spark.commands import OF_THE_JOB_ALONE, SessionOf, add_answer, answer_of
from imgdedup_spark.config.command_line import Parser, read_command
from imgdedup_spark.config.dedup import ONLY_EMBEDDINGS
from imgdedup_spark.config.options import whole_number
from imgdedup_spark.errors import UserError
from imgdedup_spark.kernels.hashes import METHODS

log = logging.getLogger("imgdedup")
#: Of different mistakes; the last one finds copies of files.
_METHODS = ("phash", "dhash", "double_gradient", "md5")
#: Minutes on two cores, seconds on a cluster.
_ROWS = 20_000
_UNUSED = (
    *OF_THE_JOB_ALONE, "output", "preset", "threshold", "verify", "views", "invariant", *ONLY_EMBEDDINGS,
)  # fmt: skip


def run(arguments: Sequence[str], session: SessionOf) -> int:
    """Prints the numbers, and writes the page and the same numbers as JSON.

    Raises:
        UserError: an option or the input is wrong.
        JobError: the job ran and failed.
    """
    job, given = read_command(
        "advise", "What each threshold of some methods would drop of a data set, told from a sample.", _add_options,
        arguments, _UNUSED,
    )  # fmt: skip
    if not job.input:
        raise UserError("--input is required: name at least one file, folder or glob")
    if job.dedup.hash_col and given["method"]:
        raise UserError("--method computes hashes from the image, and --hash-col reads no image: leave one out")
    from imgdedup_spark.advise import Task
    from imgdedup_spark.advise import run as run_job

    task = Task(job, given["method"] or _METHODS, given["rows"], answer_of(given))
    task.check()
    with session(job) as spark:
        advice = run_job(spark, task)
    from imgdedup_spark.report.advice import advice_text

    print(advice_text(advice))
    log.info("see %s", given["html"])
    return 0


def _add_options(parser: Parser) -> None:
    own = parser.add_argument_group("advice")
    own.add_argument(
        "--method", nargs="+", default=None, metavar="NAME", choices=METHODS,
        help=f"hash methods to try (default: {' '.join(_METHODS)})",
    )  # fmt: skip
    own.add_argument(
        "--rows", type=whole_number, default=_ROWS, metavar="N", help=f"look at about so many (default: {_ROWS:,})"
    )
    add_answer(own, "advice.html", "the numbers")
