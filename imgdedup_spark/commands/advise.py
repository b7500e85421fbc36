"""``imgdedup advise --input PATH…``: what each threshold of some methods would drop of a sample."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from imgdedup_spark.commands import SessionOf
from imgdedup_spark.config.command_line import Parser, read_command
from imgdedup_spark.config.dedup import ONLY_EMBEDDINGS
from imgdedup_spark.config.options import whole_number
from imgdedup_spark.errors import UserError
from imgdedup_spark.files import storage
from imgdedup_spark.kernels.hashes import METHODS

log = logging.getLogger("imgdedup")
#: Of different mistakes; the last one finds copies of files.
_METHODS = ("phash", "dhash", "double_gradient", "md5")
#: Minutes on two cores, seconds on a cluster.
_ROWS = 20_000
_UNUSED = (
    "output", "output_format", "output_table", "mark", "dry_run",
    "report", "metrics", "show_num", "emit_hashes", "keep", "never", "index",
    "against", "run_id", "stages", "preset", "threshold", "verify", "views", "invariant", *ONLY_EMBEDDINGS,
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

    page = given["html"]
    notes = given["json"] or page.removesuffix(".html") + ".json"
    task = Task(job, given["method"] or _METHODS, given["rows"], storage.absolute(page), storage.absolute(notes))
    task.check()
    with session(job) as spark:
        advice = run_job(spark, task)
    from imgdedup_spark.report.advice import advice_text

    print(advice_text(advice))
    log.info("see %s", page)
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
    own.add_argument("--html", default="advice.html", metavar="FILE", help="the page (default: advice.html)")
    own.add_argument("--json", default=None, metavar="FILE", help="the numbers (default: beside the page)")
